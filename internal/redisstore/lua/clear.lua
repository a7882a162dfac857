-- Makes records healthy, whether they exist or not, and tells every replica to let go of
-- what it holds there: for operators. It begins with common.lua.
--
-- KEYS     nothing, and index, meta and changes as in report.lua, then the records
-- ARGV     1 channel   2 secret   3 round of a new record   then the id and the name of each record
-- Returns  the phase of each record as it was: '' where there was none
--
-- Each clear has a number, which grows and is the time in ms as a rule. A report of a replica
-- that does not know the last one is not taken in: see report.lua. The replicas that no message
-- reached let go of what Redis no longer has: see read.go.

read_meta(KEYS[3], ARGV[2])
local phases_before = {}
for i = 5, #KEYS do
	local id, name = ARGV[2 * i - 6], ARGV[2 * i - 5]
	local r = read(KEYS[i])
	phases_before[i - 4] = r.exists and phases[view(r)] or ''
	local rev, generation = r.round[REV], r.round[GENERATION]
	r.round, r.counts, r.witnesses, r.claim = unpacked(ARGV[3], GAP), unpacked('', NEXT), '', ''
	r.round[REV], r.round[GENERATION], r.round[BEGAN] = rev + 1, generation + 1, now
	r.counts[EXPIRES] = now + 60000
	redis.call('DEL', KEYS[i])
	redis.call('HSET', KEYS[i], 'v', '3', 'key', name, 'phase', phases[HEALTHY], 'until', 0, 'attempts', 0, 'status', 0, 'timestamp', 0,
		'round', packed(r.round, GAP), 'counts', packed(r.counts, NEXT), 'witnesses', '', 'claim', '', 'memory', '{}')
	redis.call('PEXPIRE', KEYS[i], 60000) -- for reports and decisions that are under way
	index('ZREM', id)
	meta.cleared = math.max(meta.cleared + 1, now)
	redis.call('HSET', KEYS[3], 'cleared', string.format('%.0f', meta.cleared))
	r.cleared = meta.cleared
	publish(r, id, name, ARGV[1])
end
return phases_before
