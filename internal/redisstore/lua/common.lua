-- What report.lua, commit.lua and read.lua share: reading, viewing and writing a
-- record.
--
-- A record is a hash. A decision writes round and memory, and reports write counts. The
-- numbers of round and counts are packed, 7 bytes each: text takes several times as long.
--   v key phase until attempts status timestamp   for people; phase and until as replicas see them
--   round      rev generation phase began until permits keep level rate*1000 directed version,
--              the alarms: good bad refused returned failures witnesses refusals from near spent; and
--              the gap between turns, ns
--   counts     reports since the decision: good bad refused returned failures
--              refusals hints retry_at remaining reset_at near inconsistent; then: permits granted, when permits
--              were last wanting, a hint's end and begin, a claim's end, attempts status timestamp, expiry, and
--              when the next turn comes, in µs
--   witnesses  replica:call, ...    claim  replica    memory  JSON: the machine's own, not looked into here
-- Times are in ms of Redis' own clock. Any client of this Redis may have written any of it: what is
-- not of its length counts as zeros, and a record that cannot be read is replaced.

local REV, GENERATION, PHASE, BEGAN, UNTIL, PERMITS, KEEP, LEVEL, RATE, DIRECTED, VERSION = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local A_GOOD, A_BAD, A_REFUSED, A_RETURNED, A_FAILURES, A_WITNESSES, A_REFUSALS, A_FROM, A_NEAR, A_SPENT, GAP = 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22
local GOOD, BAD, REFUSED, RETURNED, FAILURES, REFUSALS, HINTS = 1, 2, 3, 4, 5, 6, 7
local RETRY_AT, REMAINING, RESET_AT, NEAR, INCONSISTENT = 8, 9, 10, 11, 12
local GRANTED, DENIED, HINT_UNTIL, HINT_AT, CLAIM_UNTIL, ATTEMPTS, STATUS, TIMESTAMP, EXPIRES, NEXT = 13, 14, 15, 16, 17, 18, 19, 20, 21, 22
local HEALTHY, HELD, PROBING, RAMPING, COUNTED, PACED, RATIONED = 0, 1, 2, 3, 4, 5, 6
local phases = {[0] = 'healthy', 'held', 'probing', 'ramping', 'counted', 'paced', 'rationed'}

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local repaired = false

-- n numbers of 7 bytes each: none can be negative or fractional.
local numbers = '>I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7I7'
local function packed(t, n) return struct.pack(string.sub(numbers, 1, 1 + 2 * n), unpack(t, 1, n)) end
local function unpacked(s, n)
	if not s or #s ~= 7 * n then
		repaired = repaired or (s and s ~= '')
		s = string.rep('\0', 7 * n)
	end
	return {struct.unpack(string.sub(numbers, 1, 1 + 2 * n), s)}
end

-- What a replica sees, as phase, time, whether the server asked for it, and whether
-- failures are counted. A hint that no decision has seen yet is a hold.
local function view(r)
	local round, counts = r.round, r.counts
	local held = round[PHASE] == HELD
	if counts[HINT_UNTIL] > (held and round[UNTIL] or 0) then return HELD, counts[HINT_UNTIL], 1, counts[ATTEMPTS] > 0 end
	return round[PHASE], round[UNTIL], held and round[DIRECTED] or 0, counts[ATTEMPTS] > 0
end

local function read(key)
	local h = redis.pcall('HMGET', key, 'v', 'round', 'counts', 'witnesses', 'claim')
	if h.err or (h[1] and h[1] ~= '3') then
		redis.call('DEL', key)
		h, repaired = {}, true
	end
	local round, counts = unpacked(h[2], GAP), unpacked(h[3], NEXT)
	if not phases[round[PHASE]] then round, repaired = unpacked('', GAP), true end
	round[GENERATION], round[RATE] = math.min(round[GENERATION], 2 ^ 53 - 1), math.min(round[RATE], 2 ^ 53 - 1)
	round[LEVEL], counts[ATTEMPTS] = math.min(round[LEVEL], 2 ^ 20), math.min(counts[ATTEMPTS], 2 ^ 30)
	if counts[STATUS] > 999 then counts[STATUS] = 0 end
	local r = {stored = h, exists = h[1], round = round, counts = counts, witnesses = h[4] or '', claim = h[5] or '',
		attempts = counts[ATTEMPTS], timestamp = counts[TIMESTAMP]}
	r.before = view(r)
	if #r.witnesses > 512 then r.witnesses = '' end
	if #r.claim > 64 then r.claim = '' end
	return r
end

-- Keeps a round's length where the clock was set back.
local function rewind(r)
	local round, counts = r.round, r.counts
	if round[BEGAN] > now then
		local step = round[BEGAN] - now
		round[UNTIL], round[BEGAN], r.changed = math.max(round[UNTIL] - step, 0), now, true
		counts[NEXT] = math.max(counts[NEXT] - step * 1000, 0)
	end
	if counts[HINT_UNTIL] > 0 and counts[HINT_AT] > now then
		counts[HINT_UNTIL], counts[HINT_AT] = math.max(counts[HINT_UNTIL] - (counts[HINT_AT] - now), 1), now
	end
	counts[CLAIM_UNTIL] = math.min(counts[CLAIM_UNTIL], now + 50)
	counts[DENIED], counts[TIMESTAMP] = math.min(counts[DENIED], now), math.min(counts[TIMESTAMP], now)
end

local function gap_of(round) return math.max(math.floor(math.min(round[GAP], 1e10) / 1000), 1) end

-- Bounds times in the future, whatever wrote them, and however far the clock was set back.
local function limit(r, longest)
	local latest, round, counts = now + longest, r.round, r.counts
	if round[UNTIL] > latest or round[KEEP] > latest or round[A_FROM] > latest then
		round[UNTIL], round[KEEP], round[A_FROM] = math.min(round[UNTIL], latest), math.min(round[KEEP], latest), math.min(round[A_FROM], latest)
		r.changed = true
	end
	counts[HINT_UNTIL], counts[RETRY_AT] = math.min(counts[HINT_UNTIL], latest), math.min(counts[RETRY_AT], latest)
	-- Of turns: what was handed out since the round began, at a rate that was less than twice as high before; and a day.
	local line = 2 * (math.min(counts[GRANTED], 2 ^ 30) + 1) * gap_of(round)
	counts[NEXT] = math.min(counts[NEXT], (now + 1) * 1000 + math.min(line, 86400000000))
	if counts[RESET_AT] > latest then counts[REMAINING], counts[RESET_AT], counts[NEAR] = 0, 0, 0 end
end

local function seen(witnesses)
	if witnesses == '' then return 0 end
	local _, n = string.gsub(witnesses, ':', '')
	return n
end


-- Permits of the round, or turns of the schedule, none of which comes after patience is
-- over; and how far ahead the first comes, in µs. After the round, a decision is due, and
-- no permit is denied.
local function grant(r, want, patience)
	local round, counts, granted, first = r.round, r.counts, 0, 0
	local phase, left = round[PHASE], round[PERMITS] - counts[GRANTED]
	local paced = phase == PACED or phase == RATIONED
	if phase == HEALTHY or phase == COUNTED or counts[HINT_UNTIL] > 0 or not paced and now >= round[UNTIL] then return 0, 0 end
	if paced then
		local gap = gap_of(round)
		first = math.max(counts[NEXT] - micros, 0)
		if first <= patience then
			granted = math.min(want, phase == PACED and 1048576 or math.max(left, 0), math.floor((patience - first) / gap) + 1)
		end
		if granted > 0 then counts[NEXT] = micros + first + granted * gap end
	else
		granted = math.max(math.min(want, left), 0)
	end
	counts[GRANTED] = math.min(counts[GRANTED] + granted, 2 ^ 30)
	if granted < want then counts[DENIED] = now end
	return granted, first
end

-- Epoch and sequence of the data, the secret that proves who published, and when an operator
-- last cleared anything. What is missing, or no number, begins again.
local meta
local function read_meta(key, secret)
	local m = redis.pcall('HMGET', key, 'epoch', 'seq', 'secret', 'cleared')
	if m.err then
		redis.call('DEL', key)
		m, repaired = {}, true
	end
	local seq = tonumber(m[2] or '0')
	local sane = seq and seq >= 0 and seq < 2 ^ 40 and seq % 1 == 0
	local cleared = m[4] and tonumber(m[4]) or 0
	if not (cleared >= 0 and cleared < 2 ^ 52) then cleared = 0 end
	meta = {epoch = m[1], seq = seq, secret = m[3], cleared = cleared}
	if not (sane and meta.epoch and meta.secret) then
		repaired = repaired or not sane
		local epoch = time[1] .. '-' .. time[2]
		meta = {epoch = epoch, seq = 0, secret = redis.sha1hex(secret .. epoch), cleared = cleared} -- another epoch, another secret
		redis.call('HSET', key, 'epoch', epoch, 'seq', 0, 'secret', meta.secret)
		redis.call('PEXPIRE', key, 86400000)
	end
end

local function snapshot(r, name)
	local round, counts, phase, till, directed = r.round, r.counts, view(r)
	return {meta.epoch, meta.seq, now, phases[phase], till - now, round[GENERATION], round[LEVEL], directed, counts[ATTEMPTS],
		counts[TIMESTAMP] > 0 and now - counts[TIMESTAMP] or 0, counts[STATUS], seen(r.witnesses), round[RATE], r.cleared or 0, name}
end

-- A command on the index. One of another type is replaced.
local function index(command, ...)
	local reply = redis.pcall(command, KEYS[2], ...)
	if type(reply) ~= 'table' or not reply.err then return reply end
	if string.sub(reply.err, 1, 9) == 'WRONGTYPE' then
		redis.call('DEL', KEYS[2])
		repaired = true
	end
	return redis.call(command, KEYS[2], ...)
end

-- Publishes a change, and where it is one of the phase, or of a hold, keeps it for people:
-- some 1000 of them in KEYS[4], for a day. Slots of a ramp or a pace would soon push out what
-- led to them.
local function publish(r, id, name, channel)
	index('ZREMRANGEBYSCORE', '-inf', now)
	meta.seq = redis.call('HINCRBY', KEYS[3], 'seq', 1)
	redis.call('PEXPIRE', KEYS[3], 86400000)
	local text = string.format('3 %s %s %.0f %.0f %s %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %s', id, unpack(snapshot(r, name)))
	local mac = redis.sha1hex(meta.secret .. redis.sha1hex(meta.secret .. text))
	redis.pcall('PUBLISH', channel, mac .. ' ' .. text) -- a user without the right to publish can still hold
	local phase = view(r)
	if phase ~= r.before or phase == HELD or r.cleared then
		redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', 1000, '*', 'change', text)
		redis.pcall('PEXPIRE', KEYS[4], 86400000)
	end
end

-- Writes what changed of the record, keeps the index, and publishes where other
-- replicas must learn of it.
local function write(r, id, name, channel, longest, changed)
	local round, counts, stored, phase, till = r.round, r.counts, r.stored, view(r)
	if not r.exists and phase == HEALTHY and counts[ATTEMPTS] == 0 and r.claim == '' and round[REV] == 0 and
		counts[REFUSALS] == 0 and counts[RESET_AT] == 0 then
		return -- nothing is known
	end
	local new = changed or r.changed or not r.exists
	local expires = math.max(round[KEEP], till, now) + 60000
	local renew = new or math.abs(expires - counts[EXPIRES]) > 1000 -- once a second is enough
	if renew then counts[EXPIRES] = expires end
	local fields = {}
	local function set(field, value, was)
		if value ~= was then fields[#fields + 1], fields[#fields + 2] = field, value end
	end
	set('counts', packed(counts, NEXT), stored[3])
	set('witnesses', r.witnesses, stored[4] or '')
	set('claim', r.claim, stored[5] or '')
	if new or counts[ATTEMPTS] ~= r.attempts or counts[TIMESTAMP] ~= r.timestamp then
		set('attempts', counts[ATTEMPTS])
		set('status', counts[STATUS])
		set('timestamp', counts[TIMESTAMP])
	end
	if new then
		set('v', '3')
		set('key', name)
		set('phase', phases[phase])
		set('until', till)
		set('round', packed(round, GAP), stored[2])
		set('memory', r.memory)
	end
	if fields[1] then redis.call('HSET', KEYS[1], unpack(fields)) end
	if renew then
		redis.call('PEXPIRE', KEYS[1], expires - now)
		if phase == HEALTHY and counts[ATTEMPTS] == 0 then
			index('ZREM', id)
		else
			index('ZADD', expires, id)
			redis.call('PEXPIRE', KEYS[2], longest + 120000)
		end
	end
	if changed then publish(r, id, name, channel) end
end

-- The reply: the snapshot, the permits, what is due, and the record for a replica
-- that is to decide.
local function answer(r, name, granted, first, due, decide)
	local reply = snapshot(r, name)
	reply[16], reply[17], reply[18], reply[19] = granted, first, decide and 'decide' or due and 'due' or '', repaired and 'repaired' or 'ok'
	if decide then
		reply[20], reply[21], reply[22] = packed(r.round, GAP), packed(r.counts, NEXT), r.witnesses
		local memory = redis.call('HGET', KEYS[1], 'memory') or ''
		reply[23] = #memory <= 4096 and memory or '{}'
	end
	return reply
end
