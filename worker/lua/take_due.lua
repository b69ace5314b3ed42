-- Take the sessions that are due, and make them due again later in case the taker dies.
--
-- KEYS[1]  the due times, a sorted set
-- ARGV[1]  how many to take, ARGV[2] milliseconds to hold them for
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now),
  'LIMIT', '0', ARGV[1])
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), id)
end
return ids
