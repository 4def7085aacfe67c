-- Which of many logs have another position than their reader: their indexes in KEYS, from 0.
--
-- KEYS  heads
-- ARGV  server, then per head: epoch:seq

local changed = {}
for i, head in ipairs(KEYS) do
  local known = redis.call('HMGET', head, 'epoch', 'seq', 'server')
  if known[3] ~= ARGV[1] or known[1] .. ':' .. known[2] ~= ARGV[i + 1] then
    changed[#changed + 1] = i - 1
  end
end
return changed
