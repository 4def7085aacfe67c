-- How many bytes of text the log has of messages of a run that are open in it; -1 for any other message.
--
-- KEYS  run
-- ARGV  server partial_prefix, then the ids of messages

local out = {}
for i = 3, #ARGV do
  local known = redis.call('HMGET', KEYS[1], 'n:' .. ARGV[i], 'b:' .. ARGV[i])
  if not known[1] then
    out[#out + 1] = -1
  else -- without a length where the version before has begun the message
    out[#out + 1] = tonumber(known[2] or redis.call('STRLEN', ARGV[2] .. ARGV[i]))
  end
end
return out
