-- Keep a report as the session's latest, unless the session is deleted.
--
-- KEYS[1]  the session's hash, KEYS[2] its report
-- ARGV[1]  the report
if redis.call('HGET', KEYS[1], 'phase') == 'deleted' then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
