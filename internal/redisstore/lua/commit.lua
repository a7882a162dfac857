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
local was, read_at = r.round, tonumber(ARGV[7])
if was[REV] ~= tonumber(ARGV[6]) or read_at < was[BEGAN] or now < read_at or now - read_at > tonumber(ARGV[8]) then
	local granted = grant(r, want)
	write(r, id, name, ARGV[1], longest, false)
	return answer(r, name, granted, was[REV] == tonumber(ARGV[6]), false)
end

local next, rest, taken = unpacked(ARGV[12], round_pattern, A_SPENT), r.totals, unpacked(ARGV[9], totals_pattern, INCONSISTENT)
for i = GOOD, HINTS do rest[i] = math.max(rest[i] - taken[i], 0) end
if rest[RETRY_AT] == taken[RETRY_AT] then rest[RETRY_AT] = 0 end
if rest[RESET_AT] == taken[RESET_AT] and rest[REMAINING] == taken[REMAINING] and rest[INCONSISTENT] == taken[INCONSISTENT] then
	for i = REMAINING, INCONSISTENT do rest[i] = 0 end
end
if next[GENERATION] ~= was[GENERATION] then
	for i = GOOD, RETURNED do rest[i] = 0 end
end
rest[FAILURES] = rest[FAILURES] + tonumber(ARGV[16])
r.attempts = math.max(r.attempts - tonumber(ARGV[11]), 0) + tonumber(ARGV[14])
if next[PHASE] ~= 'healthy' or r.attempts == 0 then rest[FAILURES], r.witnesses = 0, '' end
if next[PHASE] ~= 'healthy' then rest[REFUSALS] = 0 end
if r.hint_until == tonumber(ARGV[10]) then r.hint_until, r.hint_at = 0, 0 end
next[REV], next[BEGAN] = was[REV] + 1, was[BEGAN]
if ARGV[17] == '1' then
	next[BEGAN], r.granted = now, 0
	if next[PHASE] == 'probing' or next[PHASE] == 'ramping' then next[UNTIL] = next[UNTIL] + now - read_at end -- a ramp must not hurry
end
if r.attempts == tonumber(ARGV[14]) then r.status = tonumber(ARGV[15]) end
r.round, r.memory, r.claim, r.claim_until, r.changed = next, ARGV[13], '', 0, true
local granted = grant(r, want)
write(r, id, name, ARGV[1], longest, ARGV[18] == '1')
return answer(r, name, granted, false, false)
