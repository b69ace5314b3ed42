-- KEYS: run. ARGV: item, keep. Returns 1 when the item is not done any more, and can be claimed; one
-- that somebody has claimed or leased, and whose time has not run out, stays.

local run = KEYS[1]
local item, keep = unpack(ARGV, 1, 2)
local value = read(run, item)

if value and (value.state == 'claimed' or value.state == 'leased') and value.expires > now() then
  return 0
end
if value and value.state == 'done' then
  ended(value, 'lost')
  write(run, item, { state = 'released', identity = value.identity, token = value.token,
                     not_before = 0, attempts = 0, outages = 0, earlier = value.earlier }, keep)
else
  redis.call('HDEL', run, item)
end
return 1
