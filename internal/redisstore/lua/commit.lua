-- Starts the round that a replica decided on, unless another has decided since, or
-- the decision is too old, or was made of a record that was lost since, or the clock
-- was set back since. It takes from the totals what the decision has seen; what came
-- since stays. The same in Go: Record.Commit in internal/hold.
--
-- KEYS     as in report.lua
-- ARGV     1 channel   2 id   3 name   4 secret   5 longest hold, ms
--          6 rev   7 when the record was read, ms   8 how old it may be, ms
--          9 totals that were seen  10 hint that was seen  11 attempts that were seen
--         12 the round, as in common.lua (rev and began are set here)  13 memory
--         14 attempts  15 status  16 failures that still count  17 new round (0, 1)  18 changed (0, 1)  19 want
-- Returns  see answer in common.lua

local id, name, longest, want = ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[19])
local r = read(KEYS[1])
read_meta(KEYS[3], ARGV[4])
rewind(r)
local rev = r.round.rev
local age = now - tonumber(ARGV[7])
if rev ~= tonumber(ARGV[6]) or tonumber(ARGV[7]) < r.round.began or age < 0 or age > tonumber(ARGV[8]) then
	local granted = grant(r, want)
	write(r, id, name, ARGV[1], longest, false)
	return answer(r, name, granted, rev == tonumber(ARGV[6]), false)
end

local was, next = r.round, unpacked(ARGV[12], round_names)
local rest, taken = r.totals, unpacked(ARGV[9], total_names)
for _, field in ipairs({'good', 'bad', 'refused', 'good_retries', 'refused_retries', 'returned', 'failures', 'refusals', 'hints'}) do
	rest[field] = math.max(rest[field] - taken[field], 0)
end
if rest.retry_at == taken.retry_at then rest.retry_at = 0 end
if rest.reset_at == taken.reset_at and rest.remaining == taken.remaining and rest.inconsistent == taken.inconsistent then
	rest.remaining, rest.reset_at, rest.near, rest.inconsistent = 0, 0, 0, 0
end
if next.generation ~= was.generation then
	for _, field in ipairs({'good', 'bad', 'refused', 'good_retries', 'refused_retries', 'returned'}) do rest[field] = 0 end
end
rest.failures = rest.failures + tonumber(ARGV[16])
r.attempts = math.max(r.attempts - tonumber(ARGV[11]), 0) + tonumber(ARGV[14])
if next.phase ~= 'healthy' or r.attempts == 0 then rest.failures, r.witnesses = 0, '' end
if next.phase ~= 'healthy' then rest.refusals = 0 end
if r.hint_until == tonumber(ARGV[10]) then r.hint_until, r.hint_at = 0, 0 end
next.rev, next.began = rev + 1, was.began
if ARGV[17] == '1' then next.began, r.granted = now, 0 end
if r.attempts == tonumber(ARGV[14]) then r.status = tonumber(ARGV[15]) end
r.round, r.memory, r.claim, r.claim_until = next, ARGV[13], '', 0
local granted = grant(r, want)
write(r, id, name, ARGV[1], longest, ARGV[18] == '1')
return answer(r, name, granted, false, false)
