-- KEYS: run. ARGV: item, keep, token, counts ('1' or '0'), delay, code or '', message.
-- Returns 1 when the claim or lease of this token is given back.

local run = KEYS[1]
local item, keep, token, counts = unpack(ARGV, 1, 4)
local delay, code, message = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local value = read(run, item)

if not value or value.token ~= token then
  return 0
end
if value.state == 'released' then
  return 1 -- the client sent this very call again
end
if value.state ~= 'claimed' and value.state ~= 'leased' then
  return 0
end
if value.state == 'leased' then
  ended(value, counts == '1' and 'failed' or code ~= '' and 'outage' or 'handed_back')
end
local time = now()
if counts == '1' then
  value.attempts = value.attempts + 1
elseif code ~= '' then
  value.outages = value.outages + 1
end
if code ~= '' then
  value.code, value.message = code, message
  value.failing_since = value.failing_since or time
end
value.state, value.not_before = 'released', time + delay
value.owner, value.expires, value.progress = nil, nil, nil
write(run, item, value, keep)
return 1
