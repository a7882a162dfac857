-- Draws on a limit that the fleet shares: Draw of internal/limit/share.go.
-- KEYS: the limit, a hash of level, drawn, latest, at and resets; times in µs of Redis' clock.
-- ARGV: full, rate per second, reserve, reset and length in s, amount, level, said, mark.
-- Replies with the wait in s and what the fleet has drawn.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full, rate, reserve, reset, length, amount, first, said, mark = unpack(ARGV)
full, rate, reserve, reset, length = tonumber(full), tonumber(rate), tonumber(reserve), tonumber(reset), tonumber(length)
amount, first, said, mark = tonumber(amount), tonumber(first), tonumber(said), tonumber(mark)

local h = redis.pcall('HMGET', KEYS[1], 'level', 'drawn', 'latest', 'at', 'resets')
if h.err then
	redis.call('DEL', KEYS[1])
	h = {}
end
local level, drawn, latest, at, resets = tonumber(h[1]), tonumber(h[2]), tonumber(h[3]), tonumber(h[4]), tonumber(h[5])
if not (level and drawn and latest and at and resets) then
	level, drawn, latest, at, resets = first, 0, 0, now, now + reset * 1e6
end
-- A clock that was set back lets the limit stand still, and does not keep a window open.
if rate <= 0 then resets = math.min(resets, now + reset * 1e6) end
if rate > 0 then
	level = level + rate * math.max(now - at, 0) / 1e6
elseif now >= resets then
	level, resets = level + full, now + reset * 1e6
end
if said >= 0 and mark >= latest then level, latest = said - math.max(drawn - mark, 0), mark end
level = math.min(level, full) - amount
drawn = drawn + amount

local missing, wait = reserve - level, 0
if missing > 0 then
	if rate > 0 then
		wait = missing / rate
	else
		wait = (resets - now) / 1e6
		if full > 0 then wait = wait + (math.ceil(missing / full) - 1) * length end
	end
end
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level), 'drawn', string.format('%.17g', drawn),
	'latest', string.format('%.17g', latest), 'at', string.format('%.0f', now), 'resets', string.format('%.0f', resets))
redis.call('PEXPIRE', KEYS[1], math.ceil(math.min(math.max(60, 2 * wait, rate > 0 and 2 * full / rate or 2 * reset), 86400) * 1000))
return {string.format('%.17g', wait), string.format('%.17g', drawn)}
