-- KEYS: run. ARGV: field, keep, value, expected (left out: only an absent field is written).
-- Returns the value that counts from now on.

local run = KEYS[1]
local field, keep, value, expected = unpack(ARGV, 1, 4)
local current = redis.call('HGET', run, field)

if current and current ~= expected then
  return current
end
redis.call('HSET', run, field, value)
redis.call('PEXPIRE', run, keep)
return value
