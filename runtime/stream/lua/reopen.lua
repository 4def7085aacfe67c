-- Reopen the log for an attempt that it has lost. No entries are added.
--
-- KEYS  head log open run
-- ARGV  server run_id attempt last channel partial_prefix ttl completed_count
--       then the ids of completed messages of the attempt,
--       then per open message: id created_payload text n
-- Answers {'ok', epoch, seq} | {'stale'}.
--
-- A new epoch begins: what readers have may lack the entries that the log has lost, so
-- they have to read the snapshot. The log lacks the run's first entries from now on. They
-- are marked as known, so that a late announcement does not append them after the
-- attempt's entries; readers who want them get a replay from the database.

local head, log, open, run = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local server, run_id, attempt, last = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local channel, partial_prefix, ttl, completed = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])

local known = redis.call('HMGET', run, 'fence', 'ended')
if (known[1] and tonumber(known[1]) > attempt) or known[2] then return { 'stale' } end

local seq = tonumber(redis.call('HGET', head, 'seq') or 0)
local epoch = begin_epoch(head, log, server, seq)

local prefix = run_id .. '/'
for _, field in ipairs(redis.call('HKEYS', open)) do
  if string.sub(field, 1, #prefix) == prefix then
    local message = string.sub(field, #prefix + 1)
    redis.call('HDEL', open, field)
    redis.call('HDEL', run, 'n:' .. message, 'b:' .. message)
    redis.call('DEL', partial_prefix .. message)
  end
end

redis.call('HSET', head, 'r:' .. run_id, 1)
redis.call('HSET', run, 'fence', attempt, 'last', last, 'server', server, 'queued', '-', 'k:run.queued:0', 1)
for i = 9, 8 + completed do
  redis.call('HSET', run, 'm:' .. ARGV[i], attempt)
end
for i = 9 + completed, #ARGV, 4 do
  local message = ARGV[i]
  redis.call('HSET', open, prefix .. message, ARGV[i + 1])
  redis.call('SET', partial_prefix .. message, ARGV[i + 2], 'EX', ttl)
  redis.call(
    'HSET', run, 'n:' .. message, ARGV[i + 3], 'b:' .. message, #ARGV[i + 2], 'm:' .. message, attempt
  )
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ttl) end
redis.call('PUBLISH', channel, epoch .. ':' .. seq)
return { 'ok', epoch, seq }
