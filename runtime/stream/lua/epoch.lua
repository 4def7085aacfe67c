-- The epoch of a thread's log. A cursor is valid only in the epoch that it names.
--
-- A new epoch begins when the head is missing, when the server is not the one that
-- the epoch began under (a restart or a failover may have lost the newest entries),
-- and when an attempt reopens its log. Entries of an earlier epoch are deleted, so that
-- no reader continues from them into the new one without noticing.

local function begin_epoch(head, log, server, seq)
  local time = redis.call('TIME')
  local epoch = string.sub(server, 1, 8) .. string.format('%x', time[1] * 1000000 + time[2])
  redis.call('HSET', head, 'epoch', epoch, 'seq', seq, 'server', server)
  redis.call('DEL', log)
  return epoch, seq
end

-- Epoch, number of the newest entry, and whether the epoch began just now.
local function current_position(head, log, server)
  local known = redis.call('HMGET', head, 'epoch', 'seq', 'server')
  if known[1] and known[3] == server then
    return known[1], tonumber(known[2]), false
  end
  local epoch, seq = begin_epoch(head, log, server, tonumber(known[2] or '0'))
  return epoch, seq, true
end
