-- KEYS: run, session. ARGV: item, keep, generation, token of the claim, token of the lease, owner,
-- ttl. Returns the item as JSON, or false when the claim is no longer its holder's.

local run, session = KEYS[1], KEYS[2]
local item, keep, generation, claim, token, owner = unpack(ARGV, 1, 6)
local value = read(run, item)

if not value or not is_current(session, generation) then
  return false
end
if value.state == 'leased' and value.token == token then
  return cjson.encode(value) -- the client sent this very call again
end
-- One claim makes one lease: a message that is delivered twice finds the token used up.
if value.state ~= 'claimed' or value.token ~= claim then
  return false
end
value.state, value.token, value.owner = 'leased', token, owner
value.expires = now() + tonumber(ARGV[7])
return write(run, item, value, keep)
