-- Adds a replica's report to a record: counters add up, a hint is a maximum, and
-- permits of the round are handed out. It decides nothing: it says when a decision
-- is due, and which replica makes it. The same in Go: Record.Add in internal/hold.
--
-- KEYS[1]  the record (hash)   KEYS[2]  index (sorted set: id by expiry)   KEYS[3]  meta (hash)   KEYS[4]  changes (stream)
-- ARGV     1 channel   2 id   3 name   4 secret   5 longest hold, ms   6 most records
--          7 round of a new record   8 replica   9 the report, packed as below
-- Returns  {'full'}, {'behind', the last clear}, or see answer.
--
-- go-redis runs a script again when its answer was late. A hint is a maximum, and
-- failures are told apart by the replica's count of calls. What else is counted
-- twice leaves one slot under-used, or cuts a rate a little more, or measures a server once.

local id, name, longest, replica = ARGV[2], ARGV[3], tonumber(ARGV[5]), ARGV[8]
-- sent: TIME at sending, 0 where unknown; hint and reset: in ms from then; flags are 0 or 1;
-- cleared: of the last clear that the replica knows of.
local call, version, sent, generation, good, bad, refused, returned, failures, refusals, well,
	status, hint, directed, remaining, reset, near, inconsistent, want, patience, cleared = unpack(unpacked(ARGV[9], 21))
local r = read(KEYS[1])
if not r.exists and index('ZCOUNT', now, '+inf') >= tonumber(ARGV[6]) then return {'full'} end
read_meta(KEYS[3], ARGV[4])
-- A replica that does not know of the last clear may have what was cleared to report, however
-- long it was away, and whichever record that is in: it has to read everything first.
if cleared < meta.cleared then return {'behind', string.format('%.0f', meta.cleared)} end
if r.round[REV] == 0 then r.round = unpacked(ARGV[7], GAP) end
local round, counts = r.round, r.counts
local phase_before, until_before, _, failing_before = view(r)
rewind(r)
limit(r, longest)

local function add(field, n) counts[field] = math.min(counts[field] + n, 2 ^ 30) end
local mine = round[REV] > 0 and generation == round[GENERATION]
if mine then
	add(GOOD, good)
	add(BAD, bad)
	add(REFUSED, refused)
	add(RETURNED, returned)
end

-- What was met while the key was healthy, and failures for people.
local function witness()
	local calls, count = {}, 0
	for who, n in string.gmatch(r.witnesses, '([^:,]+):(%d+)') do
		calls[who] = tonumber(n)
		count = count + 1
	end
	if calls[replica] and calls[replica] >= call then return false end
	if not calls[replica] and count >= 8 then return true end
	calls[replica] = call
	local list = {}
	for who, n in pairs(calls) do list[#list + 1] = string.format('%s:%.0f', who, n) end
	r.witnesses = table.concat(list, ',')
	return true
end
local healthy = round[PHASE] == HEALTHY and counts[HINT_UNTIL] == 0
if healthy and (well == 1 or (mine and good > 0)) then
	for _, field in ipairs({FAILURES, HINTS, BAD, REFUSED, ATTEMPTS, STATUS}) do counts[field] = 0 end
	r.witnesses = ''
end
local failed = mine and bad + refused or 0
if healthy and failures > 0 and witness() then
	add(FAILURES, failures)
	failed = failed + failures
end
if healthy and now >= round[A_FROM] then add(REFUSALS, refusals) end -- earlier ones are no news later
-- What waited in a stopped server's socket is older than it says.
if sent > 0 and now - sent > 1000 and now - sent < 600000 then hint, reset = math.max(hint - now + sent, 0), math.max(reset - now + sent, 0) end
if failed == 0 and hint > 0 then
	add(HINTS, 1)
	failed = 1
end
if failed > 0 then
	add(ATTEMPTS, failed)
	counts[STATUS], counts[TIMESTAMP] = status, now
end

-- A quota: the later window counts, or the smaller remainder in one window.
if inconsistent == 1 then
	counts[INCONSISTENT] = 1
elseif reset > 0 and reset <= longest then
	local at = now + reset
	remaining = math.min(remaining, 2 ^ 30)
	if at > counts[RESET_AT] + 1100 then
		counts[REMAINING], counts[RESET_AT], counts[NEAR] = remaining, at, near
	elseif at >= counts[RESET_AT] - 1100 then
		counts[REMAINING], counts[RESET_AT] = math.min(counts[REMAINING], remaining), math.min(counts[RESET_AT], at)
		counts[NEAR] = math.max(counts[NEAR], near)
	end
end

-- A hint is a maximum.
local till = now + math.min(hint, longest)
if hint > 0 and directed == 0 then
	counts[RETRY_AT] = math.max(counts[RETRY_AT], till)
elseif hint > 0 and till > counts[HINT_UNTIL] then
	if counts[HINT_UNTIL] == 0 then counts[HINT_AT] = now end
	counts[HINT_UNTIL] = till
end

local function reached(field, alarm) return round[alarm] > 0 and counts[field] >= round[alarm] end
local function is_due()
	local phase, hint_until = round[PHASE], counts[HINT_UNTIL]
	if hint_until > 0 then
		return (want > 0 or well == 1) and now >= math.max(hint_until, phase == HELD and round[UNTIL] or 0) or
			well == 1 and phase == HEALTHY and now < hint_until and hint_until - counts[HINT_AT] < 300 -- an assumption
	elseif phase ~= HEALTHY and now >= round[UNTIL] then
		return want > 0 or well == 1 or (phase ~= HELD and phase ~= PROBING)
	end
	return reached(FAILURES, A_FAILURES) and seen(r.witnesses) >= round[A_WITNESSES] or
		counts[REFUSALS] > 0 and round[A_REFUSALS] > 0 and now >= round[A_FROM] or
		counts[NEAR] > 0 and round[A_NEAR] > 0 or
		round[A_SPENT] > 0 and (counts[INCONSISTENT] > 0 or counts[RESET_AT] > 0 and counts[REMAINING] == 0) or
		reached(GOOD, A_GOOD) or reached(BAD, A_BAD) or reached(REFUSED, A_REFUSED) or reached(RETURNED, A_RETURNED)
end
local due = is_due()
local decide = due and (now >= counts[CLAIM_UNTIL] or r.claim == replica) and version >= round[VERSION]
if decide then r.claim, counts[CLAIM_UNTIL] = replica, now + 50 end
local granted, first = grant(r, decide and 0 or want, patience) -- the decision grants

-- A hold that grows by less than a slot is not worth a message: a replica that asks
-- too early is told. Nor are the slots of a pace, for which replicas ask anyway.
local phase, ends, _, failing = view(r)
local grown = ends - until_before
local changed = phase ~= phase_before or failing ~= failing_before or
	(grown ~= 0 and phase ~= PACED and phase ~= RATIONED and not (phase == HELD and grown > 0 and grown < 100))
r.changed = r.changed or grown ~= 0 -- phase and until, for people
write(r, id, name, ARGV[1], longest, changed)
return answer(r, name, granted, first, due, decide)
