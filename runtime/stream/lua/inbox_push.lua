-- Put lines into the inbox of an attempt: all of them, or none when it is full.
--
-- KEYS  inbox inbox_state run
-- ARGV  server attempt most_lines most_bytes ttl first, then the lines
-- Answers 1 | 0 (full) | -1 (a later attempt has begun, or the run has ended)
--   | -1 - n (lines are missing: the next one is to have the number n).
--
-- first: the number of the first line; 0: they have none. Of numbered lines those that came before
-- are skipped, so that a worker may send again what was not confirmed.

local inbox, state, run = KEYS[1], KEYS[2], KEYS[3]
local known = redis.call('HMGET', run, 'fence', 'ended')
if known[2] or (known[1] and tonumber(known[1]) > tonumber(ARGV[2])) then return -1 end

local waiting, size, FIRST, number = redis.call('LLEN', inbox), 0, 7, tonumber(ARGV[6])
if number > 0 then
  local seen = tonumber(redis.call('HGET', state, 'seen') or 0)
  if number > seen + 1 then return -2 - seen end
  FIRST = FIRST + seen + 1 - number
  if FIRST > #ARGV then return 1 end
end
for i = FIRST, #ARGV do size = size + #ARGV[i] end
local bytes = tonumber(redis.call('HGET', state, 'bytes') or 0)
if waiting > 0 and (waiting + #ARGV - FIRST + 1 > tonumber(ARGV[3]) or bytes + size > tonumber(ARGV[4])) then
  return 0
end
for i = FIRST, #ARGV do redis.call('RPUSH', inbox, ARGV[i]) end
if number > 0 then redis.call('HSET', state, 'seen', number + #ARGV - 7) end
redis.call('HINCRBY', state, 'bytes', size)
redis.call('HINCRBY', state, 'lines', #ARGV - FIRST + 1)
redis.call('EXPIRE', inbox, ARGV[5])
redis.call('EXPIRE', state, ARGV[5])
return 1
