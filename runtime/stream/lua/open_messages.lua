-- The open messages of a thread, flat: id, payload of message.created, text, n, and so on.
--
-- KEYS  open
-- ARGV  server partial_prefix run_prefix

local out = {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local run, message = string.match(fields[i], '^(.*)/(.*)$')
  out[#out + 1] = message
  out[#out + 1] = fields[i + 1]
  out[#out + 1] = redis.call('GET', ARGV[2] .. message) or ''
  out[#out + 1] = redis.call('HGET', ARGV[3] .. run, 'n:' .. message) or '0'
end
return out
