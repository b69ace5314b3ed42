-- Take the sessions that are due, and make them due again later in case the taker dies. Those that
-- are due for more than a look at their playlist come first; looks get a quarter of it at least.
--
-- KEYS[1]  the due times, a sorted set, KEYS[2] those of looks at live sessions
-- ARGV[1]  how many to take, ARGV[2] milliseconds to hold them for
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local limit, held = tonumber(ARGV[1]), string.format('%.0f', now + tonumber(ARGV[2]))

local function taken(key, count)
  local ids = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now),
    'LIMIT', '0', string.format('%.0f', count))
  for _, id in ipairs(ids) do
    redis.call('ZADD', key, held, id)
  end
  return ids
end

local ids = taken(KEYS[1], limit)
for _, id in ipairs(ids) do
  local look = tonumber(redis.call('ZSCORE', KEYS[2], id) or 'inf')
  if look <= now then -- whoever comes for more has a look as well
    redis.call('ZADD', KEYS[2], held, id)
  end
end
for _, id in ipairs(taken(KEYS[2], math.max(limit - #ids, math.ceil(limit / 4)))) do
  ids[#ids + 1] = id
end
return ids
