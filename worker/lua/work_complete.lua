-- KEYS: run, session. ARGV: item, keep, generation, token, result.
-- Returns 1 when the item is done with this token's result. A lease that ran out still counts
-- as long as nobody took it over: the work is done, and done by one only.

local run, session = KEYS[1], KEYS[2]
local item, keep, generation, token, result = unpack(ARGV, 1, 5)
local value = read(run, item)

if not value or value.token ~= token then
  return 0
end
if value.state == 'done' then
  return 1 -- the client sent this very call again
end
if value.state ~= 'leased' or not is_current(session, generation) then
  return 0
end
write(run, item, { state = 'done', identity = value.identity, token = token, owner = value.owner,
                   attempts = value.attempts, outages = value.outages, earlier = value.earlier,
                   result = result }, keep)
return 1
