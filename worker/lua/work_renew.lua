-- KEYS: run, session. ARGV: item, keep, generation, token, ttl, progress.
-- Returns 1 when the lease is still its holder's and the session's generation still this one.

local run, session = KEYS[1], KEYS[2]
local item, keep, generation, token, ttl, progress = unpack(ARGV, 1, 6)
local value = read(run, item)

if not value or value.state ~= 'leased' or value.token ~= token then
  return 0
end
if not is_current(session, generation) then
  return 0
end
value.expires = now() + tonumber(ttl)
value.progress = tonumber(progress)
write(run, item, value, keep)
return 1
