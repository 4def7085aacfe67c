-- Remove lines from the inbox of an attempt, and return them.
--
-- KEYS  inbox inbox_state
-- ARGV  server token count
-- Answers the lines; nil where Redis has evicted some of them.
--
-- The lines are kept until the next call with another token, so that the same call,
-- sent again after its reply was lost, gets the same lines.

local inbox, state = KEYS[1], KEYS[2]
local known = redis.call('HMGET', state, 'token', 'taken', 'bytes', 'lines')
local done, length = tonumber(known[2] or 0), redis.call('LLEN', inbox)
if not known[3] and length == 0 then return {} end -- nothing was ever sent: leave no key behind
-- Without a number of lines, lines of the version before are in the inbox.
local expected = tonumber(known[4] or (known[3] and length or 0))

if known[1] == ARGV[2] then
  if length < done then return false end
  if done == 0 then return {} end
  return redis.call('LRANGE', inbox, 0, done - 1)
end

if length + done == expected then
  done, expected = 0, length -- only what was returned before has been evicted
elseif length ~= expected then
  return false
end

local bytes = tonumber(known[3] or 0)
if done > 0 then
  for _, line in ipairs(redis.call('LRANGE', inbox, 0, done - 1)) do bytes = bytes - #line end
  redis.call('LTRIM', inbox, done, -1)
end
local lines = redis.call('LRANGE', inbox, 0, ARGV[3] - 1)
redis.call(
  'HSET', state, 'token', ARGV[2], 'taken', #lines, 'bytes', bytes, 'lines', math.max(0, expected - done)
)
return lines
