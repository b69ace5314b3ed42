-- Give a session a due time; one that is unknown, or is not recorded and left nothing to be cleaned
-- up, never has one.
--
-- KEYS[1]  the session's hash, KEYS[2] the due times
-- ARGV[1]  the session's id, ARGV[2] the due time, ARGV[3] 'LT' to keep an earlier one, else 'CH'
if redis.call('HGET', KEYS[1], 'record') ~= '1' and redis.call('HEXISTS', KEYS[1], 'run') == 0 then
  return 0
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2], ARGV[1])
return 1
