"""The least that an append and a wake-up can be: what a writer calls and a reader finds."""

from __future__ import annotations

LOG, WAKE, NEWEST = "floor:log", "floor:wake", "floor:newest"

APPEND = f"""
local seq = redis.call('INCR', '{NEWEST}')
redis.call('XADD', '{LOG}', 'MAXLEN', '~', 5000, seq .. '-0', 'd', ARGV[1])
redis.call('PUBLISH', '{WAKE}', seq)
return seq"""
