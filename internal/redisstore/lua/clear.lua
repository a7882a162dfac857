-- Makes records healthy, whether they exist or not, and tells every replica to let go of
-- what it holds there: for operators. It begins with common.lua.
--
-- KEYS     nothing, and index, meta and changes as in report.lua, then the records
-- ARGV     1 channel   2 secret   3 round of a new record   then the id and the name of each record
-- Returns  the phase of each record as it was: '' where there was none

read_meta(KEYS[3], ARGV[2])
local phases_before = {}
for i = 5, #KEYS do
	local id, name = ARGV[2 * i - 6], ARGV[2 * i - 5]
	local r = read(KEYS[i])
	phases_before[i - 4] = r.exists and phases[view(r)] or ''
	local rev, generation = r.round[REV], r.round[GENERATION]
	r.round, r.counts, r.witnesses, r.claim = unpacked(ARGV[3], GAP), unpacked('', NEXT), '', ''
	r.round[REV], r.round[GENERATION], r.round[BEGAN] = rev + 1, generation + 1, now
	r.cleared, r.counts[EXPIRES] = meta.seq + 1, now + 60000
	redis.call('DEL', KEYS[i])
	redis.call('HSET', KEYS[i], 'v', '3', 'key', name, 'phase', phases[HEALTHY], 'until', 0, 'attempts', 0, 'status', 0, 'timestamp', 0,
		'round', packed(r.round, GAP), 'counts', packed(r.counts, NEXT), 'witnesses', '', 'claim', '', 'memory', '{}',
		'cleared', string.format('%.0f %.0f', r.cleared, now))
	redis.call('PEXPIRE', KEYS[i], 60000)
	publish(r, id, name, ARGV[1])
	index('ZADD', now + 60000, id) -- for replicas that did not receive the message
	if redis.call('PTTL', KEYS[2]) < 120000 then redis.call('PEXPIRE', KEYS[2], 120000) end
end
return phases_before
