-- Remove lines from the inbox of an attempt, and return them.
--
-- KEYS  inbox inbox_state
-- ARGV  server token count
--
-- The lines are kept until the next call with another token, so that the same call,
-- sent again after its reply was lost, gets the same lines.

local inbox, state = KEYS[1], KEYS[2]
local known = redis.call('HMGET', state, 'token', 'taken', 'bytes')
if known[1] == ARGV[2] then
  if tonumber(known[2]) == 0 then return {} end
  return redis.call('LRANGE', inbox, 0, known[2] - 1)
end

local bytes = tonumber(known[3] or 0)
local done = tonumber(known[2] or 0)
if done > 0 then
  for _, line in ipairs(redis.call('LRANGE', inbox, 0, done - 1)) do bytes = bytes - #line end
  redis.call('LTRIM', inbox, done, -1)
end
local lines = redis.call('LRANGE', inbox, 0, ARGV[3] - 1)
redis.call('HSET', state, 'token', ARGV[2], 'taken', #lines, 'bytes', bytes)
return lines
