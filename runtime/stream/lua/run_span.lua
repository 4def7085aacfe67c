-- Where a run begins and ends in the log: {epoch, seq of run.queued, seq of run.completed}.
-- 0 stands for an entry that the log does not have (any more).
--
-- KEYS  head log run
-- ARGV  server

local known = redis.call('HMGET', KEYS[1], 'epoch', 'server')
if not known[1] or known[2] ~= ARGV[1] then return { '', 0, 0 } end

local function number(field)
  local epoch, seq = string.match(redis.call('HGET', KEYS[3], field) or '', '^(.*):(%d+)$')
  if epoch ~= known[1] then return 0 end
  if #redis.call('XRANGE', KEYS[2], seq .. '-0', seq .. '-0') == 0 then return 0 end
  return tonumber(seq)
end

return { known[1], number('queued'), number('ended') }
