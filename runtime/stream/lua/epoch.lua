-- The epoch of a thread's log: what a cursor is valid in.
--
-- It begins anew when the head is missing, when the server is another one than
-- that it began under (a restart or a failover may have lost the tail), and when
-- a run reopens its log. Entries of an earlier epoch are dropped, for nobody may
-- read from them into this one.

local function begin_epoch(head, log, server, seq)
  local time = redis.call('TIME')
  local epoch = string.sub(server, 1, 8) .. string.format('%x', time[1] * 1000000 + time[2])
  redis.call('HSET', head, 'epoch', epoch, 'seq', seq, 'server', server)
  redis.call('DEL', log)
  return epoch, seq
end

-- Epoch, number of the newest entry, and whether the epoch began just now.
local function place(head, log, server)
  local known = redis.call('HMGET', head, 'epoch', 'seq', 'server')
  if known[1] and known[3] == server then
    return known[1], tonumber(known[2]), false
  end
  local epoch, seq = begin_epoch(head, log, server, tonumber(known[2] or '0'))
  return epoch, seq, true
end
