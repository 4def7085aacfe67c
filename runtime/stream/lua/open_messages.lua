-- The open messages of a thread, flat: id, payload of message.created, text, n, and so on.
--
-- KEYS  open
-- ARGV  server partial_prefix run_prefix
--
-- Left out are those of whose text Redis has evicted something: their attempts notice with the next
-- delta, and reopen the log.

local out = {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local run, message = string.match(fields[i], '^(.*)/(.*)$')
  local text = redis.call('GET', ARGV[2] .. message) or ''
  local known = redis.call('HMGET', ARGV[3] .. run, 'n:' .. message, 'b:' .. message)
  if known[1] and #text == tonumber(known[2] or #text) then
    out[#out + 1] = message
    out[#out + 1] = fields[i + 1]
    out[#out + 1] = text
    out[#out + 1] = known[1]
  end
end
return out
