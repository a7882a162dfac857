-- One replica's news about one key, and the state of the key thereafter: the
-- rules of hold.go, for the fleet. One round trip, one key, no clock but TIME.
--
-- KEYS[1]  the key's record (hash)
-- KEYS[2]  index of records that matter (sorted set: id by expiry, ms)
-- KEYS[3]  meta (hash: epoch, seq)
-- ARGV     1 channel           2 id of the key       3 name of the key
--          4 replica           5 its count of calls  6 TIME at sending, ms (0: unknown)
--          7 generation        8 good                9 bad
--         10 refused          11 returned           12 failures
--         13 status           14 hint, ms           15 word (0, 1)
--         16 well (0, 1)      17 want               18 lease, ms
--         19 chance [0, 1)    20 longest hold, ms   21 most records
--         22 refusals         23 left of a quota    24 its refill, ms (0: none is told)
--         25 lies (0, 1)      26 near (0, 1)        27 good retries
--         28 refused retries
-- Returns  {'foreign'} where the record is not ours, or of another version,
--          {'full'} where there are too many to add one;
--          else {'ok', a snapshot as in read.lua ..., permits granted}
--
-- go-redis runs a script again when its answer was late. Failures are told apart
-- by the replica's count of calls, and a hold begins once per generation. What
-- else is counted twice does little harm: a grant leaves one slot under-used, the
-- successes of a slot let the next be granted without a wait for more, and refusals
-- cut a rate by a little more, or end a pace before its time.
--
-- Before this text come the constants of hold.go, as locals:
-- tripAfter quorum holdBase holdCap slot grace maxPermits measureWindow pacingCooldown retryRefusalLimit retrySuccessWeight maxCooldownDoublings
-- steadyAfterDecrease idleAfter increaseFactor accelerateAfterSlots sendsPerSlot maxSlot minRate maxRate allRefusedThreshold quotaSlack quotaReorder minLease minHold (times in ms).

local names = {'v', 'phase', 'until', 'generation', 'level', 'permits', 'granted', 'good', 'bad',
	'attempts', 'failures', 'status', 'timestamp', 'word', 'calm', 'rate', 'proof', 'vain', 'quiet',
	'stubborn', 'cured', 'asked', 'left', 'refill', 'unmet', 'witnesses'}
local got = redis.pcall('HMGET', KEYS[1], unpack(names))
if got.err or (got[1] and got[1] ~= '1') then
	return {'foreign'}
end
local h = {}
for i = 3, #names - 1 do
	local n = tonumber(got[i]) or 0
	-- Anybody may have written it: NaN, or what nobody would believe.
	h[names[i]] = n >= 0 and n <= 2 ^ 52 and n or 0
end
h.level, h.status = math.min(h.level, 2 ^ 30), math.min(h.status, 2 ^ 30)
h.rate, h.proof = math.min(h.rate, maxRate), math.min(h.proof, maxRate)
h.phase = got[2] or 'healthy'
h.witnesses = got[#names] or ''

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(n) return string.format('%.0f', n) end
local function real(n) return string.format('%.17g', n) end
if not got[1] and redis.call('ZCOUNT', KEYS[2], int(now), '+inf') >= tonumber(ARGV[21]) then
	return {'full'}
end

local generation, good, bad, refused, returned, failures =
	tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local status, hint, word, want = tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[15] == '1', tonumber(ARGV[17])
local longest = tonumber(ARGV[20])
local lease = tonumber(ARGV[18])
local latency = lease > minLease + 2 and lease / 4 or 0 -- it was rounded up as well
local refusals, left, refill = tonumber(ARGV[22]), tonumber(ARGV[23]), tonumber(ARGV[24])
local lies, near = ARGV[25] == '1', ARGV[26] == '1'
local cured, stubborn = math.max(math.min(tonumber(ARGV[27]), good), 0), tonumber(ARGV[28])

-- A clock that was set back must not make a hold longer than any hold may be.
h['until'] = math.min(h['until'], now + longest)
h.timestamp, h.calm = math.min(h.timestamp, now), math.min(h.calm, now)
h.quiet = math.min(h.quiet, now + pacingCooldown * 2 ^ maxCooldownDoublings)
h.unmet = math.min(h.unmet, now)
h.asked, h.refill = math.min(h.asked, now + longest), math.min(h.refill, now + longest)
-- What waited in a stopped server's socket is older than it says.
local age = now - tonumber(ARGV[6])
if tonumber(ARGV[6]) > 0 and age > 1000 and age < 600000 then
	hint, refill = math.max(hint - age, 0), math.max(refill - age, 0)
end
hint = math.min(hint, longest)
word = hint > 0 and (word or hint >= minHold + 2) -- it was rounded up by two
if refill > longest then
	refill = 0 -- a quota that nobody waits for
end

local before = {h.phase, h['until'], h.attempts == 0}
local dirty = false

local function enter(phase, permits, till)
	h.phase, h.permits, h.granted, h.good, h.bad, h['until'] = phase, permits, 0, 0, 0, till
	dirty = true
end

local function forget()
	h.attempts, h.failures, h.status, h.witnesses = 0, 0, 0, ''
	dirty = true
end

local function stir()
	if h.phase == 'healthy' and (h.calm == 0 or now - h.calm >= grace) then
		h.level = 0
	end
	h.generation = h.generation == 0 and now or h.generation + 1
end

local function recover()
	enter('healthy', 0, 0)
	forget()
	h.word, h.calm = 0, now
end

local function begin(escalate, asked, by_word)
	if h.phase == 'healthy' and (h.calm == 0 or now - h.calm >= grace) then
		h.level = 0
	elseif escalate then
		h.level = h.level + 1
	end
	local d = math.min(holdBase * 2 ^ math.min(h.level, 20), holdCap)
	d = math.max(math.ceil(d - tonumber(ARGV[19]) * d / 2), asked)
	h.generation = h.generation == 0 and now or h.generation + 1
	h.failures, h.word = 0, by_word and 1 or 0
	enter('held', 0, now + d)
end

-- Pacing and rations: see pace.go.

local function spaced() return h.phase == 'paced' or h.phase == 'rationed' end

local function slot_length()
	local one = 1000 / math.max(h.rate, minRate)
	return math.max(math.min(math.max(sendsPerSlot * one, slot), math.max(maxSlot, one)), latency)
end

local function permits_in(length)
	return math.min(math.max(math.floor(h.rate * length / 1000 + 0.5), 1), maxPermits)
end

local function next_slot()
	local length, from = slot_length(), now
	if h.phase == 'paced' and now - h['until'] < length then from = h['until'] end
	enter('paced', permits_in(length), from + length)
end

local function pace_at(rate)
	h.rate = math.min(math.max(rate, minRate), maxRate)
	h.proof, h.quiet = h.rate, now + steadyAfterDecrease + 2 * latency
	h.stubborn, h.cured = 0, 0
	next_slot()
end

local function to_ramp()
	enter('ramping', math.min(math.max(math.floor(2 * h.rate * slot / 1000), 2), maxPermits), now + slot)
end

local function count()
	if h.phase ~= 'healthy' or now < h.quiet then
		return
	end
	stir()
	h.failures = 0
	enter('counted', 0, now + math.max(measureWindow, latency))
end

local function in_vain()
	h.quiet = now + pacingCooldown * 2 ^ math.min(h.vain, maxCooldownDoublings)
	h.vain = h.vain + 1
end

local function grow()
	if 20 * h.granted < 19 * h.permits or now - h['until'] >= slot_length() then
		h.quiet = now
		return
	end
	local clean = math.floor((now - h.quiet) / slot_length())
	h.rate = math.min(h.rate * (1 + math.min(increaseFactor * 2 ^ math.floor(clean / accelerateAfterSlots), 1)), maxRate)
end

local function shut() return h.good == 0 and h.bad >= math.min(h.permits, allRefusedThreshold) end

local function met() return 2 * h.granted < h.permits and now - h.unmet >= idleAfter end

local function pace()
	local length = math.max(measureWindow, latency)
	if h.phase == 'paced' then length = slot_length() end
	h.stubborn, h.cured = math.max(h.stubborn - retrySuccessWeight * h.cured, 0), 0
	local taken = h.good * 1000 / (length + math.min(now - h['until'], length))
	if h.phase == 'counted' and 20 * h.bad <= h.good then
		local calm = h.calm
		in_vain()
		recover()
		h.calm = calm
	elseif shut() then
		begin(false, h.asked - now, false)
	elseif h.phase == 'counted' then
		h.generation = h.generation + 1
		pace_at(taken)
		h.quiet = now
	elseif h.bad > 0 then
		taken = math.max(taken, h.rate * h.good / (h.good + h.bad))
		h.rate = math.max(math.min(h.rate, taken), math.min(h.rate * 3 / 4, h.proof), minRate)
		h.quiet = now + steadyAfterDecrease + 2 * latency
		if h.rate < h.proof / 4 or h.stubborn >= retryRefusalLimit then
			in_vain()
			to_ramp()
		else
			next_slot()
		end
	elseif met() then
		h.vain = 0
		to_ramp()
	else
		if now >= h.quiet then
			h.proof = math.min(h.rate, h.proof * (1 + increaseFactor))
			grow()
		end
		next_slot()
	end
end

local function next_share()
	local span = h.refill - now
	if h.left <= 0 or span <= 0 then
		h.generation, h.word = h.generation + 1, 0
		enter('held', 0, h.refill)
		return
	end
	h.rate = math.min(math.max(h.left * 1000 / span, minRate), maxRate)
	local length = slot_length()
	if span < length + slot then length = span end
	local permits = math.min(permits_in(length), h.left)
	h.left = h.left - permits
	enter('rationed', permits, now + length)
end

local function share_out()
	h.left = h.left + math.max(h.permits - h.granted, 0)
	if met() then
		to_ramp()
	else
		next_share()
	end
end

local function scarce()
	local left = h.left - math.max(h.granted - h.good - h.bad, 0)
	local over = now - h.refill
	return left <= 2 * h.permits and (over < 0 or over < quotaSlack and h.left > 0)
end

local function ration()
	if h.phase == 'held' or h.phase == 'probing' then
		return
	end
	if lies then
		dirty = dirty or h.refill > 0
		h.refill = 0
		if h.phase == 'rationed' then to_ramp() end
		return
	end
	local moved = now + refill - h.refill
	if moved < -quotaSlack then
		return
	end
	dirty = true
	local ends = h.refill - now
	local risen = ends <= quotaSlack and left > h.left + h.permits + quotaReorder
	if moved > quotaSlack or risen then
		h.left, h.refill = left, now + refill
	else
		h.left = math.min(h.left, left)
		if moved < 0 or ends <= 0 then h.refill = now + refill end
	end
	if h.phase == 'rationed' then
		if h.left == 0 then h.permits = h.granted end
	elseif near and h.phase ~= 'ramping' then
		if h.phase == 'healthy' then stir() end
		next_share()
	end
end

local function roll()
	if h.phase == 'healthy' or now < h['until'] then
		return
	end
	if h.phase == 'held' then
		if now - h['until'] >= grace then recover() end
	elseif h.phase == 'counted' or h.phase == 'paced' then
		pace()
	elseif h.phase == 'rationed' then
		share_out()
	elseif h.phase == 'probing' then
		if h.granted > 0 then h.granted, dirty = 0, true end
	elseif shut() then
		begin(false, h.asked - now, false)
	elseif 2 * h.granted < h.permits then
		recover()
	elseif scarce() then
		if now >= h.refill then h.refill = now + quotaSlack end
		next_share()
	elseif 2 * (h.good + h.bad) >= h.permits then
		enter('ramping', math.min(2 * h.permits, maxPermits), now + slot)
	else
		enter('ramping', h.permits, now + slot)
	end
end

-- Whether failures alone hold the key: so many, and seen by so many.
local function tripped()
	local _, seen = string.gsub(h.witnesses, ':', '')
	return h.phase == 'healthy' and h.failures >= tripAfter and seen >= quorum
end

local function trip()
	h.failures = h.failures + 1
	if h.failures >= tripAfter then begin(true, hint, word) end
end

local function refuse(again)
	if h.phase == 'rationed' then
		h.left, h.permits = 0, h.granted
	elseif h.phase == 'ramping' and now >= h.quiet then
		pace_at(h.permits / 2 / slot * 1000)
	else
		h.bad, h.asked = h.bad + 1, math.max(h.asked, now + hint)
		if again and h.phase == 'paced' then h.stubborn = h.stubborn + 1 end
	end
end

local function fail(permit, refusal, again)
	local mine = permit and generation == h.generation
	if generation ~= h.generation and not word then
		return
	end
	h.attempts, h.status, h.timestamp, dirty = h.attempts + 1, status, now, true
	if h.phase == 'held' then
		if word and now + hint > h['until'] then
			h['until'], h.word = now + hint, 1
		end
	elseif word then
		begin(generation == h.generation, hint, true)
	elseif h.phase == 'healthy' then
		if not refusal then
			h.failures = h.failures + 1
			if tripped() then begin(true, hint, false) end
		end
	elseif not mine then
		return
	elseif h.phase == 'probing' then
		begin(true, hint, false)
	elseif refusal then
		refuse(again)
	elseif h.phase == 'ramping' then
		h.bad = h.bad + 1
		if h.bad > 3 and h.bad > 2 * h.good then begin(true, hint, false) end
	else
		trip()
	end
end

-- Notes that this replica has seen failures. Returns false where this very
-- call was counted before.
local function witness()
	local seen, count, call = {}, 0, tonumber(ARGV[5])
	for replica, last in string.gmatch(h.witnesses, '([^:,]+):(%d+)') do
		seen[replica] = tonumber(last)
		count = count + 1
	end
	if seen[ARGV[4]] and seen[ARGV[4]] >= call then
		return false
	end
	if not seen[ARGV[4]] and count >= 8 then
		return true
	end
	seen[ARGV[4]] = call
	local list = {}
	for replica, last in pairs(seen) do
		list[#list + 1] = replica .. ':' .. int(last)
	end
	h.witnesses = table.concat(list, ',')
	return true
end

-- Successes first: what is known by the time that somebody looks at a slot
-- belongs to it.
if generation == h.generation and good > 0 then
	if h.phase == 'probing' then
		h.refill = 0
		enter('ramping', 2, now + slot)
		good = good - 1
	end
	if h.phase ~= 'healthy' and h.phase ~= 'held' then
		h.good, h.failures, dirty = h.good + good, good > 0 and 0 or h.failures, true
		if h.phase == 'paced' then h.cured = h.cured + cured end
	end
end
local well = ARGV[16] == '1' or (generation == h.generation and good > 0)
if well and h.phase == 'healthy' and h.attempts > 0 then
	forget()
end
roll()

if bad + refused > 0 then
	for _ = 1, math.min(bad, 1000) do fail(true, false) end
	for i = 1, math.min(refused, 1000) do fail(true, true, i <= stubborn) end
elseif hint > 0 then
	fail(false, failures == 0)
end
if h.phase == 'healthy' and failures > 0 then
	if witness() then
		h.attempts, h.failures = h.attempts + failures, h.failures + failures
		h.status, h.timestamp, dirty = status, now, true
		if tripped() then begin(true, hint, word) end
	end
end
if refill > 0 or lies then ration() end
if refusals > 0 then count() end

roll()
if returned > 0 and generation == h.generation and h.phase == 'probing' then
	h['until'], dirty = math.min(h['until'], now + slot), true
end
local granted = 0
if want > 0 and h.phase ~= 'healthy' and h.phase ~= 'counted' then
	if h.phase == 'held' and now >= h['until'] then
		enter('probing', 1, now)
	end
	granted = math.max(math.min(want, h.permits - h.granted), 0)
	if granted > 0 then
		if h.phase == 'probing' then
			h['until'] = now + lease
		end
		h.granted, dirty = h.granted + granted, true
	end
	if granted < want and now - h.unmet >= slot then
		h.unmet, dirty = now, true
	end
end

local meta = redis.call('HMGET', KEYS[3], 'epoch', 'seq')
local epoch, seq = meta[1] or '', tonumber(meta[2]) or 0
local _, seen = string.gsub(h.witnesses, ':', '')
local function snapshot()
	return {epoch, int(seq), int(now), h.phase, int(h['until'] - now), int(h.generation), int(h.level),
		int(h.word), int(h.attempts), int(h.timestamp > 0 and now - h.timestamp or 0), int(h.status),
		int(seen), int(h.rate * 1000), ARGV[3]}
end

if dirty then
	-- A hold that grows by less than a slot is not worth a word to everybody:
	-- who asks too early is told.
	local moved = h['until'] - before[2]
	local changed = h.phase ~= before[1] or (h.attempts == 0) ~= before[3] or
		moved ~= 0 and not spaced() and not (h.phase == 'held' and moved > 0 and moved < slot)
	if changed then
		if epoch == '' then
			epoch = time[1] .. '-' .. time[2]
			redis.call('HSET', KEYS[3], 'epoch', epoch)
		end
		seq = redis.call('HINCRBY', KEYS[3], 'seq', 1)
		redis.call('PEXPIRE', KEYS[3], 86400000)
	end
	local ttl = math.max(grace, h.quiet - now)
	if h.phase ~= 'healthy' then
		ttl = math.max(math.max(h['until'] - now, 0) + grace, ttl)
	end
	redis.call('HSET', KEYS[1], 'v', '1', 'key', ARGV[3], 'phase', h.phase, 'until', int(h['until']),
		'generation', int(h.generation), 'level', int(h.level), 'permits', int(h.permits),
		'granted', int(h.granted), 'good', int(h.good), 'bad', int(h.bad), 'attempts', int(h.attempts),
		'failures', int(h.failures), 'status', int(h.status), 'timestamp', int(h.timestamp),
		'word', int(h.word), 'calm', int(h.calm), 'rate', real(h.rate), 'proof', real(h.proof), 'vain', int(h.vain),
		'stubborn', int(h.stubborn), 'cured', int(h.cured),
		'quiet', int(h.quiet), 'asked', int(h.asked), 'left', int(h.left), 'refill', int(h.refill),
		'unmet', int(h.unmet), 'witnesses', h.witnesses)
	redis.call('PEXPIRE', KEYS[1], int(ttl))
	if h.phase == 'healthy' and h.attempts == 0 then
		redis.call('ZREM', KEYS[2], ARGV[2])
	else
		redis.call('ZADD', KEYS[2], int(now + ttl), ARGV[2])
		redis.call('PEXPIRE', KEYS[2], int(longest + 2 * grace))
	end
	redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', int(now))
	if changed then
		-- A user without the right to publish must still be able to hold.
		redis.pcall('PUBLISH', ARGV[1], '1 ' .. ARGV[2] .. ' ' .. table.concat(snapshot(), ' '))
	end
end

local reply = snapshot()
table.insert(reply, 1, 'ok')
reply[#reply + 1] = int(granted)
return reply
