-- The position of a log: {epoch, newest seq, seq before the oldest entry}. Makes the head if there is none.
--
-- KEYS  head log
-- ARGV  server ttl

local epoch, seq, renewed = current_position(KEYS[1], KEYS[2], ARGV[1])
if renewed then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
return { epoch, seq, oldest and tonumber(string.match(oldest[1], '^%d+')) - 1 or seq }
