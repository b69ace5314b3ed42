-- Run the commands if the session still has the version that was read; say whether they ran.
-- Every write of a session makes a new version, so phase, generation and last_seen are then also
-- those that the caller decided upon.
--
-- KEYS[1]  the session's hash
-- ARGV[1]  the version that was read, '' for a session that was not there
-- ARGV[2…] commands, each as the number of its words, then the words
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then
  return 0
end
local first = 2
while first <= #ARGV do
  local last = first + tonumber(ARGV[first])
  redis.call(unpack(ARGV, first + 1, last))
  first = last + 1
end
return 1
