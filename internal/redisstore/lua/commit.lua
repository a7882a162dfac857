-- Starts the round that a replica decided on, unless another has decided since, or
-- the decision is too old, or was made of a record that was lost since, or the clock
-- was set back since. It takes from the counts what the decision has seen; what came
-- since stays. The same in Go: Record.Commit in internal/hold.
--
-- KEYS     as in report.lua
-- ARGV     1 channel   2 id   3 name   4 secret   5 longest hold, ms
--          6 the round, packed as in common.lua (rev is of the record that was read, and began when)
--          7 the 12 totals that were seen   8 memory   9 packed: see below
-- Returns  see answer in common.lua

local id, name, longest = ARGV[2], ARGV[3], tonumber(ARGV[5])
-- max_age: how old, in ms, the decision may be; still: failures that count again; new_round and changed are 0 or 1.
local max_age, seen_hint, seen_attempts, attempts, status, still, new_round, changed, want, patience = unpack(unpacked(ARGV[9], 10))
local r = read(KEYS[1])
read_meta(KEYS[3], ARGV[4])
rewind(r)
local was, next, counts, taken = r.round, unpacked(ARGV[6], GAP), r.counts, unpacked(ARGV[7], INCONSISTENT)
local read_at = next[BEGAN]
if was[REV] ~= next[REV] or read_at < was[BEGAN] or now < read_at or now - read_at > max_age then
	local granted, first = grant(r, want, patience)
	write(r, id, name, ARGV[1], longest, false)
	return answer(r, name, granted, first, was[REV] == next[REV], false)
end

for i = GOOD, HINTS do counts[i] = math.max(counts[i] - taken[i], 0) end
if counts[RETRY_AT] == taken[RETRY_AT] then counts[RETRY_AT] = 0 end
if counts[RESET_AT] == taken[RESET_AT] and counts[REMAINING] == taken[REMAINING] and counts[INCONSISTENT] == taken[INCONSISTENT] then
	for i = REMAINING, INCONSISTENT do counts[i] = 0 end
end
if next[GENERATION] ~= was[GENERATION] then
	for i = GOOD, RETURNED do counts[i] = 0 end
end
counts[FAILURES] = counts[FAILURES] + still
counts[ATTEMPTS] = math.max(counts[ATTEMPTS] - seen_attempts, 0) + attempts
if counts[ATTEMPTS] == attempts then counts[STATUS] = status end
if next[PHASE] ~= HEALTHY or counts[ATTEMPTS] == 0 then counts[FAILURES], r.witnesses = 0, '' end
if next[PHASE] ~= HEALTHY then counts[REFUSALS] = 0 end
if counts[HINT_UNTIL] == seen_hint then counts[HINT_UNTIL], counts[HINT_AT] = 0, 0 end
-- The schedule goes on at the new rate. Turns that replicas have move with it where they are
-- told of it; and end with the pace, or where no replica is left that would use them.
local ahead = 0 -- turns that were handed out, and are yet to come
if was[GAP] > 0 then
	local gap = gap_of(was)
	ahead = math.max(math.min(math.floor((counts[NEXT] - math.min(was[UNTIL], now) * 1000 + math.floor(gap / 2)) / gap), 1048576), 0)
end
if next[GAP] == 0 or was[GAP] == 0 or micros - was[UNTIL] * 1000 > 3000000 then
	counts[NEXT] = 0
elseif changed == 1 and counts[NEXT] > micros then
	counts[NEXT] = micros + math.floor(math.min((counts[NEXT] - micros) * next[GAP] / was[GAP], 2 ^ 50))
end
next[REV], next[BEGAN] = was[REV] + 1, was[BEGAN]
if new_round == 1 then
	next[BEGAN], counts[GRANTED] = now, 0
	if counts[NEXT] > 0 then counts[GRANTED] = ahead end
	if next[PHASE] == PROBING or next[PHASE] == RAMPING then next[UNTIL] = next[UNTIL] + now - read_at end -- a ramp must not hurry
end
r.round, r.memory, r.claim, counts[CLAIM_UNTIL], r.changed = next, ARGV[8], '', 0, true
local granted, first = grant(r, want, patience)
write(r, id, name, ARGV[1], longest, changed == 1)
return answer(r, name, granted, first, false, false)
