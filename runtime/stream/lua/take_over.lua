-- An attempt goes on with the text of the one before: raise the fence, and keep its open messages open.
--
-- KEYS  head log open run
-- ARGV  server run_id attempt partial_prefix ttl
-- Answers {'ok', then per open message: id, payload of message.created, text, n} | {'stale'} | {'lost'}.
--
-- What is open belongs to this attempt from now on, and nothing can be appended to it by the one before.
-- 'lost': Redis does not have the run, or not all of its text. Nothing has changed then.

local head, open, run = KEYS[1], KEYS[3], KEYS[4]
local server, run_id, attempt, partial_prefix, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local known = redis.call('HMGET', run, 'fence', 'server', 'ended')
local fence = tonumber(known[1] or nil)
if known[3] or (fence and fence > attempt) then return { 'stale' } end
if not fence or known[2] ~= server or redis.call('HGET', head, 'server') ~= server then return { 'lost' } end

local out, prefix = { 'ok' }, run_id .. '/'
local fields = redis.call('HGETALL', open)
local renamed = {}
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, #prefix) == prefix then
    local message = string.sub(fields[i], #prefix + 1)
    local text = redis.call('GET', partial_prefix .. message) or ''
    local counts = redis.call('HMGET', run, 'n:' .. message, 'b:' .. message)
    if not counts[1] or #text ~= tonumber(counts[2] or #text) then return { 'lost' } end
    -- Its first number of an attempt stands before anything that a worker has written.
    local created = string.gsub(fields[i + 1], '"attempt":%d+', '"attempt":' .. attempt, 1)
    renamed[#renamed + 1] = fields[i]
    renamed[#renamed + 1] = created
    out[#out + 1] = message
    out[#out + 1] = created
    out[#out + 1] = text
    out[#out + 1] = counts[1]
  end
end
if #renamed > 0 then redis.call('HSET', open, unpack(renamed)) end
redis.call('HSET', run, 'fence', attempt, 'last', 0)
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ttl) end
for i = 2, #out, 4 do redis.call('EXPIRE', partial_prefix .. out[i], ttl) end
return out
