-- KEYS: run, session. ARGV: item, keep, generation, token, identity, ttl, max_attempts, phase...
-- Returns {verdict, item as JSON or ''}; the verdict is 'claimed' or why it was refused.

local run, session = KEYS[1], KEYS[2]
local item, keep, generation, token, identity = unpack(ARGV, 1, 5)
local ttl, limit = tonumber(ARGV[6]), tonumber(ARGV[7])

local function in_phase()
  local phase = redis.call('HGET', session, 'phase')
  for index = 8, #ARGV do
    if ARGV[index] == phase then
      return true
    end
  end
  return false
end

local function refused(verdict, value)
  return { verdict, cjson.encode(value) }
end

if not is_current(session, generation) or not in_phase() then
  return { 'stale', '' }
end

local time = now()
local old = read(run, item)
local new = { state = 'claimed', identity = identity, token = token, expires = time + ttl,
              attempts = 0, outages = 0 }

if old then
  if old.state == 'claimed' and old.token == token then
    return { 'claimed', cjson.encode(old) } -- the client sent this very call again
  end
  if (old.state == 'claimed' or old.state == 'leased') and old.expires > time then
    return refused(old.state, old)
  end
  if old.identity == identity then
    if old.state == 'done' then
      return refused('done', old)
    end
    if old.state == 'leased' then -- its worker fell silent: a crash, as far as anybody can tell
      local message = 'worker ' .. old.owner .. ' fell silent while it worked on this'
      old = { state = 'released', identity = identity, token = old.token, not_before = 0,
              attempts = old.attempts + 1, outages = old.outages,
              failing_since = old.failing_since or old.expires,
              code = 'interrupted', message = message, earlier = old.earlier }
      ended(old, 'silent')
      write(run, item, old, keep)
    end
    if old.attempts >= limit then
      return refused('poison', old)
    end
    if old.state == 'released' and old.not_before > time then
      return refused('waiting', old)
    end
    new.attempts, new.outages, new.failing_since = old.attempts, old.outages, old.failing_since
    new.code, new.message, new.earlier = old.code, old.message, old.earlier
  end
end
return { 'claimed', write(run, item, new, keep) }
