-- Give a recorded session a due time; a session that is unknown or not recorded never has one.
--
-- KEYS[1]  the session's hash, KEYS[2] the due times
-- ARGV[1]  the session's id, ARGV[2] the due time, ARGV[3] 'LT' to keep an earlier one, else 'CH'
if redis.call('HGET', KEYS[1], 'record') ~= '1' then
  return 0
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2], ARGV[1])
return 1
