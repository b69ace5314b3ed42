-- Append an event, stamped with the server's time, to the log of a session that exists.
--
-- KEYS[1]  the session's hash, KEYS[2] its log
-- ARGV[1]  the event, a JSON object without a time, ARGV[2] how many events are kept
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('RPUSH', KEYS[2], string.format('{"at":%.0f,', now) .. string.sub(ARGV[1], 2))
redis.call('LTRIM', KEYS[2], '-' .. ARGV[2], '-1')
return 1
