-- What report.lua and commit.lua share: reading, viewing and writing a record.
--
-- A record is a hash. A decision writes round (numbers that are compared) and
-- memory (the machine's own: not looked into here). Reports add to totals.
--   v key phase until attempts status timestamp   for people; phase and until as replicas see them
--   round      rev generation phase began until permits keep level rate directed version
--              and the alarms: good bad refused returned failures witnesses refusals from near spent
--   totals     good bad refused good_retries refused_retries returned failures refusals hints
--              retry_at remaining reset_at near inconsistent
--   granted    permits of the round      denied   when permits were last wanting
--   hint       until, since              claim    replica, until
--   witnesses  replica:call, ...         memory   JSON
-- Times are in ms of Redis' own clock. Anybody may have written any of it: what is
-- no number in its range counts as 0, and a record that cannot be read is replaced.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local repaired = false

local function int(n) return string.format('%.0f', n) end

local function number(s)
	local n = tonumber(s)
	return n and n >= 0 and n <= 2 ^ 52 and n or 0
end

local round_names = {'rev', 'generation', 'phase', 'began', 'until', 'permits', 'keep', 'level', 'rate', 'directed', 'version',
	'a_good', 'a_bad', 'a_refused', 'a_returned', 'a_failures', 'a_witnesses', 'a_refusals', 'a_from', 'a_near', 'a_spent'}
local total_names = {'good', 'bad', 'refused', 'good_retries', 'refused_retries', 'returned', 'failures', 'refusals', 'hints',
	'retry_at', 'remaining', 'reset_at', 'near', 'inconsistent'}
local phases = {healthy = true, held = true, probing = true, ramping = true, counted = true, paced = true, rationed = true}

local function unpacked(s, names)
	local t, i = {}, 0
	for word in string.gmatch(s or '', '%S+') do
		i = i + 1
		if names[i] then t[names[i]] = names[i] == 'phase' and word or number(word) end
	end
	for j = i + 1, #names do t[names[j]] = 0 end
	if names == round_names and not phases[t.phase] then
		repaired = repaired or i > 0
		t.phase = 'healthy'
	end
	return t
end

local function packed(t, names)
	local words = {}
	for i, name in ipairs(names) do
		local v = t[name]
		words[i] = name == 'phase' and v or name == 'rate' and string.format('%.17g', v) or int(v)
	end
	return table.concat(words, ' ')
end

-- Reads the record, into a round and what came since.
local function read(key)
	local h = redis.pcall('HMGET', key, 'v', 'round', 'totals', 'granted', 'denied', 'hint', 'witnesses', 'claim',
		'attempts', 'status', 'timestamp', 'memory')
	if h.err or (h[1] and h[1] ~= '2') then
		redis.call('DEL', key)
		h, repaired = {}, true
	end
	local r = {exists = h[1] and true, round = unpacked(h[2], round_names), totals = unpacked(h[3], total_names),
		granted = number(h[4]), denied = number(h[5]), witnesses = h[7] or '', claim = '', claim_until = 0,
		attempts = number(h[9]), status = number(h[10]), timestamp = number(h[11]), memory = h[12] or '{}'}
	local hint = unpacked(h[6], {'until', 'since'})
	r.hint_until, r.hint_at = hint['until'], hint.since
	local replica, till = string.match(h[8] or '', '^(%S+) (%d+)$')
	if replica then r.claim, r.claim_until = replica, number(till) end
	return r
end

-- Keeps a round's length where the clock was set back.
local function rewind(r, longest)
	local round = r.round
	local step = round.began - now
	if step > 0 then round.began, round['until'] = now, math.max(round['until'] - step, 0) end
	step = r.hint_at - now
	if step > 0 and r.hint_until > 0 then r.hint_at, r.hint_until = now, math.max(r.hint_until - step, 1) end
	round['until'], r.hint_until = math.min(round['until'], now + longest), math.min(r.hint_until, now + longest)
	r.claim_until = math.min(r.claim_until, now + 50)
	r.denied, r.timestamp = math.min(r.denied, now), math.min(r.timestamp, now)
end

local function seen(witnesses)
	local _, n = string.gsub(witnesses, ':', '')
	return n
end

-- What a replica sees: a hint that no decision has seen yet is a hold.
local function view(r)
	local round = r.round
	local held = round.phase == 'held' and round['until'] or 0
	if r.hint_until > held then
		return {phase = 'held', ['until'] = r.hint_until, word = 1, failing = r.attempts > 0}
	end
	return {phase = round.phase, ['until'] = round['until'], word = round.phase == 'held' and round.directed or 0,
		failing = r.attempts > 0}
end

-- A hold that grows by less than a slot is not worth a message: a replica that
-- asks too early is told.
local function differs(after, before)
	local grown = after['until'] - before['until']
	local paced = after.phase == 'paced' or after.phase == 'rationed' -- replicas ask for permits by themselves
	return after.phase ~= before.phase or after.failing ~= before.failing or
		(grown ~= 0 and not paced and not (after.phase == 'held' and grown > 0 and grown < 100))
end

-- Where the round is over, no permit is wanting: the next one is not decided yet.
local function grant(r, want)
	local phase = r.round.phase
	if want <= 0 or phase == 'healthy' or phase == 'counted' or r.hint_until > 0 or now >= r.round['until'] then return 0 end
	local granted = math.max(math.min(want, r.round.permits - r.granted), 0)
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
	meta = {epoch = m[1], seq = tonumber(m[2] or '0'), secret = m[3]}
	local sane = meta.seq and meta.seq >= 0 and meta.seq < 2 ^ 40 and meta.seq == math.floor(meta.seq)
	if not (sane and meta.epoch and meta.secret) then
		repaired = repaired or not sane
		meta = {epoch = time[1] .. '-' .. time[2], seq = 0, secret = secret}
		redis.call('HSET', key, 'epoch', meta.epoch, 'seq', 0, 'secret', secret)
		redis.call('PEXPIRE', key, 86400000)
	end
end

local function snapshot(r, name)
	local v, round = view(r), r.round
	return {meta.epoch, int(meta.seq), int(now), v.phase, int(v['until'] - now), int(round.generation), int(round.level),
		int(v.word), int(r.attempts), int(r.timestamp > 0 and now - r.timestamp or 0), int(r.status),
		int(seen(r.witnesses)), int(math.min(round.rate * 1000, 2 ^ 52)), name}
end

-- Writes the record, keeps the index, and publishes where others must learn of it.
local function write(r, id, name, channel, longest, changed)
	local v, round = view(r), r.round
	if not r.exists and v.phase == 'healthy' and r.attempts == 0 and r.claim == '' and round.rev == 0 and
		r.totals.refusals == 0 and r.totals.reset_at == 0 then
		return -- nothing is known
	end
	redis.call('HSET', KEYS[1], 'v', '2', 'key', name, 'phase', v.phase, 'until', int(v['until']), 'attempts', int(r.attempts),
		'status', int(r.status), 'timestamp', int(r.timestamp), 'round', packed(round, round_names),
		'totals', packed(r.totals, total_names), 'granted', int(r.granted), 'denied', int(r.denied),
		'hint', int(r.hint_until) .. ' ' .. int(r.hint_at), 'witnesses', r.witnesses,
		'claim', r.claim == '' and '' or r.claim .. ' ' .. int(r.claim_until), 'memory', r.memory)
	local ttl = math.max(round.keep, v['until'], now) - now + 60000
	redis.call('PEXPIRE', KEYS[1], int(ttl))
	if v.phase == 'healthy' and r.attempts == 0 then
		redis.call('ZREM', KEYS[2], id)
	else
		redis.call('ZADD', KEYS[2], int(now + ttl), id)
		redis.call('PEXPIRE', KEYS[2], int(longest + 120000))
	end
	if not changed then return end
	redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', int(now))
	meta.seq = redis.call('HINCRBY', KEYS[3], 'seq', 1)
	redis.call('PEXPIRE', KEYS[3], 86400000)
	local text = '2 ' .. id .. ' ' .. table.concat(snapshot(r, name), ' ')
	local mac = redis.sha1hex(meta.secret .. redis.sha1hex(meta.secret .. text))
	redis.pcall('PUBLISH', channel, mac .. ' ' .. text) -- a user without the right to publish can still hold
end

-- The reply: the snapshot, the permits, what is due, and the record for a replica
-- that is to decide.
local function answer(r, name, granted, due, decide)
	local reply = snapshot(r, name)
	table.insert(reply, 1, repaired and 'repaired' or 'ok')
	reply[#reply + 1] = int(granted)
	reply[#reply + 1] = decide and 'decide' or due and 'due' or ''
	if decide then
		for _, field in ipairs({packed(r.round, round_names), packed(r.totals, total_names), int(r.granted), int(r.denied),
			int(r.hint_until) .. ' ' .. int(r.hint_at), r.witnesses, int(r.attempts), int(r.status), int(r.timestamp), r.memory}) do
			reply[#reply + 1] = field
		end
	end
	return reply
end
