-- Read a run's thread from the run's first entry on. Writes nothing.
--
-- KEYS  head log run
-- ARGV  server count bytes
-- Answers {epoch, newest seq, lines}; {'', 0, ''} where the log does not have the run (any more).

local known = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'server')
local newest = tonumber(known[2] or 0)
local queued_in, queued = string.match(redis.call('HGET', KEYS[3], 'queued') or '', '^(.*):(%d+)$')

if not known[1] or known[3] ~= ARGV[1] or queued_in ~= known[1] then return { '', 0, '' } end

local lines = lines_after(KEYS[2], tonumber(queued) - 1, newest, tonumber(ARGV[2]), tonumber(ARGV[3]))
if not lines then return { '', 0, '' } end
return { known[1], newest, lines }
