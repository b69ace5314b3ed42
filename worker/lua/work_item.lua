-- What the work_*.lua scripts share; it is put in front of each of them.
--
-- One hash per run, one field per item, whose value is a JSON object. Every number in it is an
-- integer far below 2^53, which cjson keeps exactly. The token is the fence: a caller whose token
-- is not the item's changes nothing. A call that the client sends twice, because the connection
-- broke before the answer came, does what it did the first time.

local FORMAT = 1

-- Milliseconds, by the one clock that all workers share.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- nil when the item is not there, or was written in a format that this version does not know.
local function read(run, item)
  local text = redis.call('HGET', run, item)
  if not text then
    return nil
  end
  local decoded, value = pcall(cjson.decode, text)
  if decoded and type(value) == 'table' and value.v == FORMAT then
    return value
  end
  return nil
end

local function write(run, item, value, keep)
  value.v = FORMAT
  local text = cjson.encode(value)
  redis.call('HSET', run, item, text)
  redis.call('PEXPIRE', run, keep)
  return text
end

-- Note how one more lease of the item's identity has ended without a result that counts.
local function ended(value, how)
  value.earlier = value.earlier or {}
  value.earlier[how] = (value.earlier[how] or 0) + 1
end

local function is_current(session, generation)
  return redis.call('HGET', session, 'generation') == generation
end
