-- The offers to execute a run of a pool.
--
-- KEYS  offers (hash: offer → until when it holds, in milliseconds; before that "t" once it is taken, "e"
--       once it is ended)
-- ARGV  server what [offer] [milliseconds]
-- what: make (or prolong) an offer, take any, give one back, withdraw one, end one, which is not made again
-- then, count those that are free.
-- Answers the offer that was taken, or nil; 0 where one cannot be made because it is ended, or be withdrawn
-- or ended because it is taken, else 1; the count.

local offers, what, offer = KEYS[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local KEPT = 60000

if what == 'make' or what == 'give_back' then
  local known = redis.call('HGET', offers, offer)
  local mark = known and string.sub(known, 1, 1)
  if mark == 'e' then return 0 end
  if what == 'make' and mark == 't' then return 1 end
  redis.call('HSET', offers, offer, now + ARGV[4])
  redis.call('PEXPIRE', offers, KEPT)
  return 1
end
if what == 'withdraw' or what == 'end' then
  local known = redis.call('HGET', offers, offer)
  if known and string.sub(known, 1, 1) == 't' then return 0 end
  if what == 'withdraw' then
    redis.call('HDEL', offers, offer)
  else
    redis.call('HSET', offers, offer, 'e' .. (now + KEPT))
    redis.call('PEXPIRE', offers, KEPT)
  end
  return 1
end

local free = 0
local all = redis.call('HGETALL', offers)
for i = 1, #all, 2 do
  local taken, till = string.match(all[i + 1], '^([te]?)(%d+)$')
  if tonumber(till) < now then
    redis.call('HDEL', offers, all[i])
  elseif taken == '' then
    free = free + 1
    if what == 'take' then
      redis.call('HSET', offers, all[i], 't' .. (now + KEPT))
      return all[i]
    end
  end
end
if what == 'take' then return false end
return free
