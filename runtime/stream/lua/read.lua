-- Read on from a cursor. Writes nothing.
--
-- KEYS  head log
-- ARGV  server epoch seq count bytes
-- Answers {epoch, newest seq, entries} | {epoch or '', newest seq, '', reason}.
--
-- Entries come as lines `seq type run_id payload`: one string is much quicker to
-- parse than nested lists, and JSON has no raw line break. Reading stops after
-- `count` entries or once `bytes` are reached.

local known = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'server')
local epoch, newest = known[1] or '', tonumber(known[2] or 0)
local after, count, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

if epoch ~= ARGV[2] or known[3] ~= ARGV[1] then return { epoch, newest, '', 'epoch' } end
if after > newest then return { epoch, newest, '', 'gap' } end

local lines, size, step = {}, 0, 8
while after < newest and #lines < count and size < bytes do
  local found = redis.call('XRANGE', KEYS[2], (after + 1) .. '-0', '+', 'COUNT', math.min(step, count - #lines))
  for _, entry in ipairs(found) do
    local fields = entry[2]
    if entry[1] ~= (after + 1) .. '-0' then return { epoch, newest, '', 'trimmed' } end
    after = after + 1
    lines[#lines + 1] = after .. ' ' .. fields[2] .. ' ' .. fields[4] .. ' ' .. fields[6]
    size = size + #fields[6]
  end
  if #found == 0 then return { epoch, newest, '', 'trimmed' } end
  -- Large entries are taken in small steps, small ones in large steps.
  step = math.max(1, math.min(256, math.floor(#lines * (bytes - size) / (size + 1))))
end
return { epoch, newest, table.concat(lines, '\n') }
