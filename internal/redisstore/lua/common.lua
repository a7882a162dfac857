-- What report.lua, commit.lua and read.lua share: reading, viewing and writing a
-- record.
--
-- A record is a hash. A decision writes round (numbers that are compared) and
-- memory (the machine's own: not looked into here). Reports add to totals.
--   v key phase until attempts status timestamp   for people; phase and until as replicas see them
--   round      rev generation phase began until permits keep level rate directed version,
--              and the alarms: good bad refused returned failures witnesses refusals from near spent
--   totals     good bad refused returned failures refusals hints
--              retry_at remaining reset_at near inconsistent
--   granted    permits of the round      denied   when permits were last wanting
--   hint       until, since              claim    replica, until
--   witnesses  replica:call, ...         memory   JSON
-- Times are in ms of Redis' own clock. Any client of this Redis may have written any of it: what is
-- no number in its range counts as 0, and a record that cannot be read is replaced.

local REV, GENERATION, PHASE, BEGAN, UNTIL, PERMITS, KEEP, LEVEL, RATE, DIRECTED, VERSION = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local A_GOOD, A_BAD, A_REFUSED, A_RETURNED, A_FAILURES, A_WITNESSES, A_REFUSALS, A_FROM, A_NEAR, A_SPENT = 12, 13, 14, 15, 16, 17, 18, 19, 20, 21
local GOOD, BAD, REFUSED, RETURNED, FAILURES, REFUSALS, HINTS = 1, 2, 3, 4, 5, 6, 7
local RETRY_AT, REMAINING, RESET_AT, NEAR, INCONSISTENT = 8, 9, 10, 11, 12

local word, int = ' (%S+)', ' %.0f'
local round_pattern, totals_pattern = '^(%S+)' .. string.rep(word, 20) .. '$', '^(%S+)' .. string.rep(word, 11) .. '$'
local round_format = '%.0f %.0f %s' .. string.rep(int, 5) .. ' %.17g' .. string.rep(int, 12)
local totals_format = '%.0f' .. string.rep(int, 11)
local phases = {healthy = true, held = true, probing = true, ramping = true, counted = true, paced = true, rationed = true}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local repaired = false

local function number(s, limit)
	local n = tonumber(s)
	return n and n >= 0 and n <= (limit or 2 ^ 52) and math.floor(n) or 0
end

-- The words of a string by a pattern, as numbers, except the phase.
local function unpacked(s, pattern, fields)
	local t = {string.match(s or '', pattern)}
	local round = fields == A_SPENT
	for i = 1, fields do
		if round and i == RATE then
			local rate = tonumber(t[i])
			t[i] = rate and rate >= 0 and rate <= 2 ^ 30 and rate or 0
		elseif not (round and i == PHASE) then
			t[i] = number(t[i], round and i == LEVEL and 2 ^ 20 or nil)
		end
	end
	return t
end

local function read(key)
	local h = redis.pcall('HMGET', key, 'v', 'round', 'totals', 'granted', 'denied', 'hint', 'witnesses', 'claim',
		'attempts', 'status', 'timestamp', 'memory')
	if h.err or (h[1] and h[1] ~= '2') then
		redis.call('DEL', key)
		h, repaired = {}, true
	end
	local r = {exists = h[1] and true, round = unpacked(h[2], round_pattern, A_SPENT), totals = unpacked(h[3], totals_pattern, INCONSISTENT),
		granted = number(h[4], 2 ^ 30), denied = number(h[5]), hint_until = 0, hint_at = 0, witnesses = h[7] or '', claim = '', claim_until = 0,
		attempts = number(h[9], 2 ^ 30), status = number(h[10], 999), timestamp = number(h[11]), memory = h[12] or '{}'}
	if #r.witnesses > 512 then r.witnesses = '' end
	if #r.memory > 4096 then r.memory, r.changed = '{}', true end
	if not phases[r.round[PHASE]] then
		repaired = repaired or (h[2] and h[2] ~= '')
		r.round = unpacked('', round_pattern, A_SPENT)
		r.round[PHASE] = 'healthy'
	end
	if h[6] then
		local till, since = string.match(h[6], '^(%S+) (%S+)$')
		r.hint_until, r.hint_at = number(till), number(since)
	end
	local replica, till = string.match(h[8] or '', '^(%S+) (%d+)$')
	if replica then r.claim, r.claim_until = replica, number(till) end
	return r
end

-- Keeps a round's length where the clock was set back.
local function rewind(r)
	local round = r.round
	if round[BEGAN] > now then
		round[UNTIL], round[BEGAN], r.changed = math.max(round[UNTIL] - (round[BEGAN] - now), 0), now, true
	end
	if r.hint_until > 0 and r.hint_at > now then
		r.hint_until, r.hint_at = math.max(r.hint_until - (r.hint_at - now), 1), now
	end
	r.claim_until = math.min(r.claim_until, now + 50)
	r.denied, r.timestamp = math.min(r.denied, now), math.min(r.timestamp, now)
end

-- Bounds what lies ahead, whoever wrote it, and however far the clock was set back.
local function limit(r, longest)
	local latest, totals = now + longest, r.totals
	for _, i in ipairs({UNTIL, KEEP, A_FROM}) do
		if r.round[i] > latest then r.round[i], r.changed = latest, true end
	end
	r.hint_until = math.min(r.hint_until, latest)
	totals[RETRY_AT] = math.min(totals[RETRY_AT], latest)
	if totals[RESET_AT] > latest then totals[REMAINING], totals[RESET_AT], totals[NEAR] = 0, 0, 0 end
end

local function seen(witnesses)
	if witnesses == '' then return 0 end
	local _, n = string.gsub(witnesses, ':', '')
	return n
end

-- What a replica sees, as phase, time, whether the server asked for it, and whether
-- failures are counted. A hint that no decision has seen yet is a hold.
local function view(r)
	local round = r.round
	local held = round[PHASE] == 'held'
	if r.hint_until > (held and round[UNTIL] or 0) then return 'held', r.hint_until, 1, r.attempts > 0 end
	return round[PHASE], round[UNTIL], held and round[DIRECTED] or 0, r.attempts > 0
end

-- After the round, a decision is due, and nothing is denied.
local function grant(r, want)
	local phase = r.round[PHASE]
	if want <= 0 or phase == 'healthy' or phase == 'counted' or r.hint_until > 0 or now >= r.round[UNTIL] then return 0 end
	local granted = math.max(math.min(want, r.round[PERMITS] - r.granted), 0)
	r.granted = r.granted + granted
	if granted < want then r.denied = now end
	return granted
end

-- Epoch and sequence of the data, and the secret that proves who published. What
-- is missing, or no number, begins again.
local meta
local function read_meta(key, secret)
	local m = redis.pcall('HMGET', key, 'epoch', 'seq', 'secret')
	if m.err then
		redis.call('DEL', key)
		m, repaired = {}, true
	end
	local seq = tonumber(m[2] or '0')
	local sane = seq and seq >= 0 and seq < 2 ^ 40 and seq == math.floor(seq)
	meta = {epoch = m[1], seq = seq, secret = m[3]}
	if not (sane and meta.epoch and meta.secret) then
		repaired = repaired or not sane
		local epoch = time[1] .. '-' .. time[2]
		meta = {epoch = epoch, seq = 0, secret = redis.sha1hex(secret .. epoch)} -- another epoch, another secret
		redis.call('HSET', key, 'epoch', epoch, 'seq', 0, 'secret', meta.secret)
		redis.call('PEXPIRE', key, 86400000)
	end
end

local function snapshot(r, name)
	local round, phase, till, directed = r.round, view(r)
	return {meta.epoch, meta.seq, now, phase, till - now, round[GENERATION], round[LEVEL], directed, r.attempts,
		r.timestamp > 0 and now - r.timestamp or 0, r.status, seen(r.witnesses), math.floor(math.min(round[RATE] * 1000, 2 ^ 52)), name}
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

-- Writes the record, keeps the index, and publishes where other replicas must learn
-- of it.
local function write(r, id, name, channel, longest, changed)
	local round, phase, till = r.round, view(r)
	if not r.exists and phase == 'healthy' and r.attempts == 0 and r.claim == '' and round[REV] == 0 and
		r.totals[REFUSALS] == 0 and r.totals[RESET_AT] == 0 then
		return -- nothing is known
	end
	redis.call('HSET', KEYS[1], 'v', '2', 'key', name, 'phase', phase, 'until', string.format('%.0f', till),
		'attempts', r.attempts, 'status', r.status, 'timestamp', string.format('%.0f', r.timestamp),
		'totals', string.format(totals_format, unpack(r.totals)), 'granted', r.granted, 'denied', string.format('%.0f', r.denied),
		'hint', string.format('%.0f %.0f', r.hint_until, r.hint_at), 'witnesses', r.witnesses,
		'claim', r.claim == '' and '' or string.format('%s %.0f', r.claim, r.claim_until))
	if r.changed or not r.exists then
		redis.call('HSET', KEYS[1], 'round', string.format(round_format, unpack(round)), 'memory', r.memory)
	end
	local ttl = math.max(round[KEEP], till, now) - now + 60000
	redis.call('PEXPIRE', KEYS[1], ttl)
	if phase == 'healthy' and r.attempts == 0 then
		index('ZREM', id)
	elseif changed or not r.exists or r.changed then
		index('ZADD', string.format('%.0f', now + ttl), id)
		redis.call('PEXPIRE', KEYS[2], longest + 120000)
	end
	if not changed then return end
	index('ZREMRANGEBYSCORE', '-inf', string.format('%.0f', now))
	meta.seq = redis.call('HINCRBY', KEYS[3], 'seq', 1)
	redis.call('PEXPIRE', KEYS[3], 86400000)
	local text = string.format('2 %s %s %.0f %.0f %s %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %s', id, unpack(snapshot(r, name)))
	local mac = redis.sha1hex(meta.secret .. redis.sha1hex(meta.secret .. text))
	redis.pcall('PUBLISH', channel, mac .. ' ' .. text) -- a user without the right to publish can still hold
end

-- The reply: the snapshot, the permits, what is due, and the record for a replica
-- that is to decide.
local function answer(r, name, granted, due, decide)
	local reply = snapshot(r, name)
	table.insert(reply, 1, repaired and 'repaired' or 'ok')
	reply[16], reply[17] = granted, decide and 'decide' or due and 'due' or ''
	if decide then
		reply[18], reply[19] = string.format(round_format, unpack(r.round)), string.format(totals_format, unpack(r.totals))
		reply[20], reply[21] = string.format('%.0f', r.granted), string.format('%.0f', r.denied)
		reply[22], reply[23] = string.format('%.0f %.0f', r.hint_until, r.hint_at), r.witnesses
		reply[24], reply[25], reply[26] = string.format('%.0f', r.attempts), string.format('%.0f', r.status), string.format('%.0f', r.timestamp)
		reply[27] = r.memory
	end
	return reply
end
