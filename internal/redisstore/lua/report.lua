-- Adds a replica's report to a record: counters add up, a hint is a maximum, and
-- permits of the round are handed out. It decides nothing: it says when a decision
-- is due, and which replica makes it. The same in Go: Record.Add in internal/hold.
--
-- KEYS[1]  the record (hash)   KEYS[2]  index (sorted set: id by expiry)   KEYS[3]  meta (hash)
-- ARGV     1 channel   2 id   3 name   4 secret   5 longest hold, ms   6 most records   7 alarms of a new record
--          8 replica   9 call  10 version  11 TIME at sending, ms (0: unknown)  12 generation
--         13 good  14 bad  15 refused  16 returned  17 failures  18 refusals  19 well
--         20 status  21 hint, ms  22 directed (0, 1)  23 remaining  24 reset in, ms  25 near  26 inconsistent  27 want
-- Returns  {'full'}, or see answer.
--
-- go-redis runs a script again when its answer was late. A hint is a maximum, and
-- failures are told apart by the replica's count of calls. What else is counted
-- twice leaves one slot under-used, or cuts a rate a little more, or measures a server once.

local id, name, longest, replica, want = ARGV[2], ARGV[3], tonumber(ARGV[5]), ARGV[8], tonumber(ARGV[27])
local r = read(KEYS[1])
if not r.exists and index('ZCOUNT', string.format('%.0f', now), '+inf') >= tonumber(ARGV[6]) then return {'full'} end
read_meta(KEYS[3], ARGV[4])
local round, totals = r.round, r.totals
local phase_before, until_before, _, failing_before = view(r)
if round[REV] == 0 then
	local i = A_GOOD
	for alarm in string.gmatch(ARGV[7], '%S+') do round[i], i = tonumber(alarm), i + 1 end
end
rewind(r)
limit(r, longest)

local function add(field, n) totals[field] = math.min(totals[field] + n, 2 ^ 30) end
local mine = round[REV] > 0 and tonumber(ARGV[12]) == round[GENERATION]
if mine then
	for i = GOOD, RETURNED do add(i, tonumber(ARGV[12 + i])) end
end

-- What was met while the key was healthy, and failures for people.
local function witness()
	local calls, count = {}, 0
	for who, call in string.gmatch(r.witnesses, '([^:,]+):(%d+)') do
		calls[who] = tonumber(call)
		count = count + 1
	end
	local last, call = calls[replica], tonumber(ARGV[9])
	if last and last >= call then return false end
	if not last and count >= 8 then return true end
	calls[replica] = call
	local list = {}
	for who, n in pairs(calls) do list[#list + 1] = string.format('%s:%.0f', who, n) end
	r.witnesses = table.concat(list, ',')
	return true
end
local healthy = round[PHASE] == 'healthy' and r.hint_until == 0
if healthy and (ARGV[19] == '1' or (mine and tonumber(ARGV[13]) > 0)) then
	totals[FAILURES], totals[HINTS], totals[BAD], totals[REFUSED] = 0, 0, 0, 0
	r.attempts, r.status, r.witnesses = 0, 0, ''
end
local failed, failures = mine and ARGV[14] + ARGV[15] or 0, tonumber(ARGV[17])
if healthy and failures > 0 and witness() then
	add(FAILURES, failures)
	failed = failed + failures
end
if healthy and now >= round[A_FROM] then add(REFUSALS, tonumber(ARGV[18])) end -- earlier ones are no news later
-- What waited in a stopped server's socket is older than it says.
local hint, reset, sent = tonumber(ARGV[21]), tonumber(ARGV[24]), tonumber(ARGV[11])
if sent > 0 and now - sent > 1000 and now - sent < 600000 then hint, reset = math.max(hint - now + sent, 0), math.max(reset - now + sent, 0) end
if failed == 0 and hint > 0 then
	add(HINTS, 1)
	failed = 1
end
if failed > 0 then r.attempts, r.status, r.timestamp = math.min(r.attempts + failed, 2 ^ 30), tonumber(ARGV[20]), now end

-- A quota: the later window counts, or the smaller remainder in one window.
if ARGV[26] == '1' then
	totals[INCONSISTENT] = 1
elseif reset > 0 and reset <= longest then
	local at, remaining, near = now + reset, math.min(tonumber(ARGV[23]), 2 ^ 30), tonumber(ARGV[25])
	if at > totals[RESET_AT] + 1100 then
		totals[REMAINING], totals[RESET_AT], totals[NEAR] = remaining, at, near
	elseif at >= totals[RESET_AT] - 1100 then
		totals[REMAINING], totals[RESET_AT] = math.min(totals[REMAINING], remaining), math.min(totals[RESET_AT], at)
		totals[NEAR] = math.max(totals[NEAR], near)
	end
end

-- A hint is a maximum.
local till = now + math.min(hint, longest)
if hint > 0 and ARGV[22] ~= '1' then
	totals[RETRY_AT] = math.max(totals[RETRY_AT], till)
elseif hint > 0 and till > r.hint_until then
	if r.hint_until == 0 then r.hint_at = now end
	r.hint_until = till
end

local granted = grant(r, want)

local function reached(n, alarm) return alarm > 0 and n >= alarm end
local function is_due()
	local phase = round[PHASE]
	if r.hint_until > 0 then
		return want > 0 and now >= math.max(r.hint_until, phase == 'held' and round[UNTIL] or 0)
	elseif phase ~= 'healthy' and now >= round[UNTIL] then
		return want > 0 or (phase ~= 'held' and phase ~= 'probing')
	end
	return reached(totals[FAILURES], round[A_FAILURES]) and seen(r.witnesses) >= round[A_WITNESSES] or
		totals[REFUSALS] > 0 and round[A_REFUSALS] > 0 and now >= round[A_FROM] or
		totals[NEAR] > 0 and round[A_NEAR] > 0 or
		round[A_SPENT] > 0 and (totals[INCONSISTENT] > 0 or totals[RESET_AT] > 0 and totals[REMAINING] == 0) or
		reached(totals[GOOD], round[A_GOOD]) or reached(totals[BAD], round[A_BAD]) or
		reached(totals[REFUSED], round[A_REFUSED]) or reached(totals[RETURNED], round[A_RETURNED])
end
local due = is_due()
local decide = due and (now >= r.claim_until or r.claim == replica) and tonumber(ARGV[10]) >= round[VERSION]
if decide then r.claim, r.claim_until = replica, now + 50 end

-- A hold that grows by less than a slot is not worth a message: a replica that asks
-- too early is told. Nor are the slots of a pace, for which replicas ask anyway.
local phase, ends, _, failing = view(r)
local grown = ends - until_before
local changed = phase ~= phase_before or failing ~= failing_before or
	(grown ~= 0 and phase ~= 'paced' and phase ~= 'rationed' and not (phase == 'held' and grown > 0 and grown < 100))
write(r, id, name, ARGV[1], longest, changed)
return answer(r, name, granted, due, decide)
