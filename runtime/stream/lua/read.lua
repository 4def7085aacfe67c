-- Read on from a cursor. Writes nothing.
--
-- KEYS  head log
-- ARGV  server epoch seq count bytes
-- Answers {epoch, newest seq, lines} | {epoch or '', newest seq, '', reason}.

local known = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'server')
local epoch, newest = known[1] or '', tonumber(known[2] or 0)
local after = tonumber(ARGV[3])

if epoch ~= ARGV[2] or known[3] ~= ARGV[1] then return { epoch, newest, '', 'epoch' } end
if after > newest then return { epoch, newest, '', 'gap' } end

local lines = lines_after(KEYS[2], after, newest, tonumber(ARGV[4]), tonumber(ARGV[5]))
if not lines then return { epoch, newest, '', 'trimmed' } end
return { epoch, newest, lines }
