-- Count an attempt, unless there were too many within the window that ends now, by Redis's own clock.
--
-- KEYS  attempts
-- ARGV  server limit window (milliseconds)
-- Answers the milliseconds to wait; 0 where the attempt is counted.

local time = redis.call('TIME')
local now, window = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3])
local oldest = redis.call('LINDEX', KEYS[1], ARGV[2] - 1)
if oldest and now - oldest < window then return window - (now - oldest) end
redis.call('LPUSH', KEYS[1], string.format('%d', now))
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)
redis.call('PEXPIRE', KEYS[1], window)
return 0
