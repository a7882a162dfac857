-- Adds a replica's report to a record: counters add up, a hint is a maximum, and
-- permits of the round are handed out. It decides nothing: it says when a decision
-- is due, and which replica makes it. The same in Go: Record.Add in internal/hold.
--
-- KEYS[1]  the record (hash)   KEYS[2]  index (sorted set: id by expiry)   KEYS[3]  meta (hash)
-- ARGV     1 channel   2 id   3 name   4 secret   5 longest hold, ms   6 most records   7 alarms of a new record
--          8 replica   9 call  10 version  11 TIME at sending, ms (0: unknown)  12 generation
--         13 the report's totals: good ... hints as in common.lua, then well
--         14 status  15 hint, ms  16 directed (0, 1)  17 remaining  18 reset in, ms  19 near  20 inconsistent  21 want
-- Returns  {'full'}, or see answer.
--
-- go-redis runs a script again when its answer was late. A hint is a maximum, and
-- failures are told apart by the replica's count of calls. What else is counted
-- twice leaves one slot under-used, or cuts a rate a little more.

local id, name, longest, want = ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[21])
local r = read(KEYS[1])
if not r.exists and redis.call('ZCOUNT', KEYS[2], int(now), '+inf') >= tonumber(ARGV[6]) then return {'full'} end
read_meta(KEYS[3], ARGV[4])
local before, round, totals = view(r), r.round, r.totals
if round.rev == 0 then
	local alarms = unpacked('0 0 healthy 0 0 0 0 0 0 0 0 ' .. ARGV[7], round_names)
	for k, v in pairs(alarms) do if string.sub(k, 1, 2) == 'a_' then round[k] = v end end
end
rewind(r, longest)

local report = unpacked(ARGV[13], {'good', 'bad', 'refused', 'good_retries', 'refused_retries', 'returned', 'failures', 'refusals', 'well'})
local mine = round.rev > 0 and tonumber(ARGV[12]) == round.generation
local function add(field, n) totals[field] = math.min(totals[field] + n, 2 ^ 30) end
if mine then
	for _, field in ipairs({'good', 'bad', 'refused', 'good_retries', 'refused_retries', 'returned'}) do add(field, report[field]) end
end

-- What was met while the key was healthy, and failures for people.
local function witness()
	local calls, count = {}, 0
	for replica, call in string.gmatch(r.witnesses, '([^:,]+):(%d+)') do
		calls[replica] = tonumber(call)
		count = count + 1
	end
	local last = calls[ARGV[8]]
	if last and last >= tonumber(ARGV[9]) then return false end
	if not last and count >= 8 then return true end
	calls[ARGV[8]] = tonumber(ARGV[9])
	local list = {}
	for replica, call in pairs(calls) do list[#list + 1] = replica .. ':' .. int(call) end
	r.witnesses = table.concat(list, ',')
	return true
end
local healthy = round.phase == 'healthy' and r.hint_until == 0
if healthy and (report.well > 0 or (mine and report.good > 0)) then
	totals.failures, totals.hints, totals.bad, totals.refused = 0, 0, 0, 0
	r.attempts, r.status, r.witnesses = 0, 0, ''
end
local failed = mine and report.bad + report.refused or 0
if healthy and report.failures > 0 and witness() then
	add('failures', report.failures)
	failed = failed + report.failures
end
if healthy and now >= round.a_from then add('refusals', report.refusals) end -- earlier ones are no news later
-- What waited in a stopped server's socket is older than it says.
local hint, reset, age = tonumber(ARGV[15]), tonumber(ARGV[18]), now - tonumber(ARGV[11])
if tonumber(ARGV[11]) > 0 and age > 1000 and age < 600000 then hint, reset = math.max(hint - age, 0), math.max(reset - age, 0) end
if failed == 0 and hint > 0 then
	add('hints', 1)
	failed = 1
end
if failed > 0 then r.attempts, r.status, r.timestamp = math.min(r.attempts + failed, 2 ^ 30), tonumber(ARGV[14]), now end

-- A quota: the later window counts, or the smaller remainder in one window.
if ARGV[20] == '1' then totals.inconsistent = 1 end
if reset > 0 and reset <= longest and ARGV[20] ~= '1' then
	local at, remaining, near = now + reset, math.min(tonumber(ARGV[17]), 2 ^ 30), tonumber(ARGV[19])
	if at > totals.reset_at + 1100 then
		totals.remaining, totals.reset_at, totals.near = remaining, at, near
	elseif at >= totals.reset_at - 1100 then
		totals.remaining, totals.reset_at = math.min(totals.remaining, remaining), math.min(totals.reset_at, at)
		totals.near = math.max(totals.near, near)
	end
end

-- A hint is a maximum.
local till = now + math.min(hint, longest)
if hint > 0 and ARGV[16] ~= '1' then
	totals.retry_at = math.max(totals.retry_at, till)
elseif hint > 0 and till > r.hint_until then
	if r.hint_until == 0 then r.hint_at = now end
	r.hint_until = till
end

local granted = grant(r, want)

local function reached(n, alarm) return alarm > 0 and n >= alarm end
local function is_due()
	local on_demand = round.phase == 'held' or round.phase == 'probing'
	if r.hint_until > 0 then
		return want > 0 and now >= math.max(r.hint_until, round.phase == 'held' and round['until'] or 0)
	elseif round.phase ~= 'healthy' and now >= round['until'] then
		return want > 0 or not on_demand
	end
	return reached(totals.failures, round.a_failures) and seen(r.witnesses) >= round.a_witnesses or
		totals.refusals > 0 and round.a_refusals > 0 and now >= round.a_from or
		totals.near > 0 and round.a_near > 0 or
		round.a_spent > 0 and (totals.inconsistent > 0 or totals.reset_at > 0 and totals.remaining == 0) or
		reached(totals.good, round.a_good) or reached(totals.bad, round.a_bad) or
		reached(totals.refused, round.a_refused) or reached(totals.returned, round.a_returned)
end
local due = is_due()
local decide = due and (now >= r.claim_until or r.claim == ARGV[8]) and tonumber(ARGV[10]) >= round.version
if decide then r.claim, r.claim_until = ARGV[8], now + 50 end

write(r, id, name, ARGV[1], longest, differs(view(r), before))
return answer(r, name, granted, due, decide)
