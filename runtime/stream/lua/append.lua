-- Append events to a thread's log: all of them or, when refused, none.
--
-- KEYS  head log open [run]
-- ARGV  server mode run_id attempt first channel partial_prefix entries ttl hint_channel hint
--       then per event: type payload key message_id text n
-- Answers {'ok', epoch, seq} | {'stale'} | {'lost'} | {'unannounced'}.
--
-- mode  begin     the start of an attempt: sets the fence, numbers begin at 1
--       resume    the same, but 'unannounced' where the log does not have the run's first entry
--       append    an attempt goes on: the fence must be its own
--       announce  what the database decided: keyed events without numbers
--
-- partial:<message> keys are derived from partial_prefix; its hash tag is that of
-- KEYS, so they are in the same slot.

local head, log, open, run = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local server, mode, run_id = ARGV[1], ARGV[2], ARGV[3]
local attempt, first = tonumber(ARGV[4]), tonumber(ARGV[5])
local channel, partial_prefix, entries, ttl = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local hint_channel, hint = ARGV[10], ARGV[11]
local EVENTS, WIDTH = 12, 6
local PUSHED = 8192 -- bytes of entries that a wake-up carries at most

local fence, last, ended = nil, 0, false
local deltas = {} -- message id -> number of its last delta
local lengths = {} -- message id -> bytes of its text

-- What is known of the run, and of the open messages that these events write to.
if run then
  local fields, asked = { 'fence', 'last', 'server', 'ended', 'queued' }, {}
  for at = EVENTS, #ARGV, WIDTH do
    local message = ARGV[at + 3]
    if ARGV[at] == 'message.delta' and not asked[message] then
      asked[message] = true
      fields[#fields + 1] = 'n:' .. message
      fields[#fields + 1] = 'b:' .. message
    end
  end
  local known = redis.call('HMGET', run, unpack(fields))
  fence, last, ended = tonumber(known[1] or nil), tonumber(known[2] or 0), known[4]
  for i = 6, #fields, 2 do
    local message = string.sub(fields[i], 3)
    deltas[message], lengths[message] = tonumber(known[i] or nil), tonumber(known[i + 1] or nil)
  end
  if fence and fence > attempt then return { 'stale' } end
  if mode == 'resume' and not known[5] then return { 'unannounced' } end
  if mode == 'append' then
    -- If the fence was set under another server, a restart may have lost the fence of a
    -- later attempt; the database has to confirm that this attempt is the current one.
    if fence ~= attempt or known[3] ~= server or first > last + 1 then return { 'lost' } end
  end
end

local function is_known(at)
  local key = ARGV[at + 2]
  return run and key ~= '' and redis.call('HEXISTS', run, 'k:' .. key) == 1
end

-- Whether Redis still has an open message and all of its text: it may have evicted one key of a thread
-- and kept the others. A message without a length was begun by the version before.
local whole = {}
local function is_whole(message)
  if whole[message] == nil then
    local length = lengths[message]
    whole[message] = not length
      or (
        redis.call('HEXISTS', open, run_id .. '/' .. message) == 1
        and redis.call('STRLEN', partial_prefix .. message) == length
      )
  end
  return whole[message]
end

-- Which events are new. Nothing is written before this loop ends, so that it can refuse all of them.
local raised = run and (not fence or fence < attempt)
if raised then last = 0 end
local fresh = {}
for at = EVENTS, #ARGV, WIDTH do
  local number = first + (at - EVENTS) / WIDTH
  if (mode == 'announce' or number > last) and not is_known(at) then
    if ended and mode ~= 'announce' then return { 'stale' } end
    local type, message = ARGV[at], ARGV[at + 3]
    if type == 'message.created' then
      deltas[message], whole[message] = 0, true
    elseif type == 'message.delta' then
      if deltas[message] ~= tonumber(ARGV[at + 5]) - 1 or not is_whole(message) then return { 'lost' } end
      deltas[message] = deltas[message] + 1
    elseif type == 'message.completed' then
      deltas[message] = nil
    end
    if not ended then fresh[#fresh + 1] = at end
  end
end

local function drop(message)
  redis.call('HDEL', open, run_id .. '/' .. message)
  redis.call('HDEL', run, 'n:' .. message, 'b:' .. message)
  redis.call('DEL', partial_prefix .. message)
end

local function drop_open_messages_of_run()
  local prefix = run_id .. '/'
  for _, field in ipairs(redis.call('HKEYS', open)) do
    if string.sub(field, 1, #prefix) == prefix then drop(string.sub(field, #prefix + 1)) end
  end
end

-- Remove and return the ids of messages that attempts before `before` wrote and that are neither
-- discarded nor final yet.
local function pop_message_ids(before)
  local fields, ids = redis.call('HGETALL', run), {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'm:' and tonumber(fields[i + 1]) < before then
      ids[#ids + 1] = string.sub(fields[i], 3)
      redis.call('HDEL', run, fields[i])
    end
  end
  table.sort(ids)
  return ids
end

-- `discarded` is the last field of a run.retried; the ids that only the log knows are added to it.
local function with_discarded(payload)
  local front, list = string.match(payload, '^(.*"discarded":%[)(.-)%]}$')
  if not front then return payload end
  for _, id in ipairs(pop_message_ids(attempt)) do
    local quoted = '"' .. id .. '"'
    if not string.find(list, quoted, 1, true) then
      list = list == '' and quoted or list .. ',' .. quoted
    end
  end
  return front .. list .. ']}'
end

local epoch, seq, renewed = current_position(head, log, server)
local ends = #fresh > 0 and ARGV[fresh[#fresh]] == 'run.completed'
if run and not fence and (ends or redis.call('HEXISTS', head, 'r:' .. run_id) == 1) then
  -- The log has entries of this run, or had them, and what it knew of it is gone. It can no longer tell
  -- which of the events it has already, so its readers have to begin anew.
  epoch, seq = begin_epoch(head, log, server, seq)
  renewed = true
end
local before, keep = seq, renewed

if raised then
  drop_open_messages_of_run()
  redis.call('HSET', run, 'fence', attempt, 'last', 0, 'server', server)
  keep = true
elseif mode == 'begin' or mode == 'resume' then
  redis.call('HSET', run, 'server', server)
end
if run and not ended and (raised or renewed) then redis.call('HSET', head, 'r:' .. run_id, 1) end

local texts = {} -- message id -> pieces to append
local lines, size = { '' }, 0

for _, at in ipairs(fresh) do
  local type, payload, key, message = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  seq = seq + 1
  if type == 'run.retried' then payload = with_discarded(payload) end
  redis.call('XADD', log, 'MAXLEN', '~', entries, seq .. '-0', 't', type, 'r', run_id, 'd', payload)
  size = size + #payload
  if size <= PUSHED then lines[#lines + 1] = line(seq, type, run_id, payload) end
  if type == 'message.delta' then
    texts[message] = texts[message] or {}
    table.insert(texts[message], ARGV[at + 4])
  else
    keep = true
    if run and key ~= '' then redis.call('HSET', run, 'k:' .. key, 1) end
  end
  if type == 'message.created' then
    redis.call('HSET', open, run_id .. '/' .. message, payload)
    redis.call('HSET', run, 'n:' .. message, 0, 'b:' .. message, 0, 'm:' .. message, attempt)
  elseif type == 'message.completed' then
    drop(message)
    redis.call('HSET', run, 'm:' .. message, attempt)
    texts[message] = nil
  elseif type == 'run.queued' then
    redis.call('HSETNX', run, 'queued', epoch .. ':' .. seq)
  elseif type == 'run.waiting' then
    pop_message_ids(attempt + 1) -- what was written before the question is never discarded
  elseif type == 'run.completed' then
    drop_open_messages_of_run()
    redis.call('HSET', run, 'ended', epoch .. ':' .. seq)
    redis.call('HDEL', head, 'r:' .. run_id)
    texts = {}
  end
end

-- A long run of deltas renews the expiry of the keys too, at every 256th entry.
keep = keep or math.floor(before / 256) ~= math.floor(seq / 256)

local fields = {}
for message, pieces in pairs(texts) do
  local partial = partial_prefix .. message
  local length = redis.call('APPEND', partial, table.concat(pieces))
  fields[#fields + 1] = 'n:' .. message
  fields[#fields + 1] = deltas[message]
  fields[#fields + 1] = 'b:' .. message
  fields[#fields + 1] = length
  if deltas[message] == #pieces then redis.call('EXPIRE', partial, ttl) end
end
if run and mode ~= 'announce' then
  local reached = first + (#ARGV - EVENTS + 1) / WIDTH - 1
  if reached > last then
    fields[#fields + 1] = 'last'
    fields[#fields + 1] = reached
  end
end
if #fields > 0 then redis.call('HSET', run, unpack(fields)) end

if seq > before then
  redis.call('HSET', head, 'seq', seq)
  local wake = epoch .. ':' .. seq
  -- Small entries are published with the wake-up, so that no reader has to ask Redis for them.
  -- For large ones one read of several entries costs less.
  if size <= PUSHED then wake = wake .. table.concat(lines, '\n') end
  redis.call('PUBLISH', channel, wake)
end
if hint ~= '' then redis.call('PUBLISH', hint_channel, hint) end
if keep then
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ttl) end
  for _, field in ipairs(redis.call('HKEYS', open)) do
    redis.call('EXPIRE', partial_prefix .. string.match(field, '/(.*)$'), ttl)
  end
end
return { 'ok', epoch, seq }
