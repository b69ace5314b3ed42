-- KEYS: run. ARGV: item. Returns 1 when the item is not there any more; an item that somebody
-- has claimed or leased, and whose time has not run out, stays.

local value = read(KEYS[1], ARGV[1])

if value and (value.state == 'claimed' or value.state == 'leased') and value.expires > now() then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
