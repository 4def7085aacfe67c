-- Entries of a log as lines `seq type run_id payload`.
--
-- One string is much faster to parse than nested lists, and JSON has no raw line break.

local function line(seq, type, run_id, payload)
  return seq .. ' ' .. type .. ' ' .. run_id .. ' ' .. payload
end

-- The lines after number `after`, until `count` of them or once `bytes` are reached;
-- nil where an entry is missing.
local function lines_after(log, after, newest, count, bytes)
  local lines, size, step = {}, 0, 8
  while after < newest and #lines < count and size < bytes do
    local found = redis.call('XRANGE', log, (after + 1) .. '-0', '+', 'COUNT', math.min(step, count - #lines))
    for _, entry in ipairs(found) do
      local fields = entry[2]
      if entry[1] ~= (after + 1) .. '-0' then return nil end
      after = after + 1
      lines[#lines + 1] = line(after, fields[2], fields[4], fields[6])
      size = size + #fields[6]
    end
    if #found == 0 then return nil end
    -- Read large entries in small steps and small ones in large steps.
    step = math.max(1, math.min(256, math.floor(#lines * (bytes - size) / (size + 1))))
  end
  return table.concat(lines, '\n')
end
