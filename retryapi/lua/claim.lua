-- The life of a claim: one attempt of a parked request, by one caller.
--
-- KEYS[1]  index (sorted set: id by time of parking, ms)
-- KEYS[2]  heads (hash: id to JSON)
-- KEYS[3]  bodies (hash: id to bytes)
-- KEYS[4]  states (hash: id:field to value; bytes, evicted)
-- KEYS[5]  summaries (hash: id to JSON)
-- ARGV     1 what (claim, begin, settle)  2 id  3 attempt  4 token
--          5 longest age, ms
--          claim, begin: 6 lease, ms
--          settle: 6 sent (0, 1)  7 good (0, 1)  8 status  9 error
-- Returns  {'unknown'}, {'conflict', next, in flight (0, 1)}, or {'ok'}, with
--          head and body for claim

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(n) return string.format('%.0f', n) end
local what, id, attempt, token = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local parked = tonumber(redis.call('ZSCORE', KEYS[1], id) or '')
local state = redis.call('HMGET', KEYS[4], id .. ':next', id .. ':token', id .. ':until', id .. ':size')
local next, holder, till = tonumber(state[1]), state[2] or '', tonumber(state[3]) or 0
local busy = holder ~= '' and now < till
-- Where Redis has evicted one of our keys, what is left is not the request.
local whole = parked and next and redis.call('HEXISTS', KEYS[2], id) == 1 and redis.call('HEXISTS', KEYS[3], id) == 1
if not whole or (now - parked >= tonumber(ARGV[5]) and not busy and holder ~= token) then
	return {'unknown'}
end

-- renew lets the claim last for the lease, and our keys for longer.
local function renew(lease)
	redis.call('HSET', KEYS[4], id .. ':token', token, id .. ':until', int(now + lease))
	for _, key in ipairs(KEYS) do
		if redis.call('PTTL', key) < lease + 60000 then redis.call('PEXPIRE', key, int(lease + 60000)) end
	end
end

if what == 'claim' then
	-- The same token again is the same call, run twice.
	if holder ~= token and (busy or next ~= attempt) then
		return {'conflict', int(next), busy and '1' or '0'}
	end
	renew(tonumber(ARGV[6]))
	return {'ok', redis.call('HGET', KEYS[2], id), redis.call('HGET', KEYS[3], id)}
end

if holder ~= token then
	return {'conflict', int(next), busy and '1' or '0'}
end
if what == 'begin' then
	redis.call('HSET', KEYS[4], id .. ':next', int(attempt + 1))
	renew(tonumber(ARGV[6]))
	return {'ok'}
end

if ARGV[7] == '1' then
	local bytes = tonumber(redis.call('HGET', KEYS[4], 'bytes')) or 0
	redis.call('HSET', KEYS[4], 'bytes', int(bytes - (tonumber(state[4]) or 0)))
	redis.call('ZREM', KEYS[1], id)
	for _, key in ipairs({KEYS[2], KEYS[3], KEYS[5]}) do redis.call('HDEL', key, id) end
	redis.call('HDEL', KEYS[4], id .. ':next', id .. ':status', id .. ':error', id .. ':size', id .. ':token', id .. ':until')
	return {'ok'}
end
redis.call('HDEL', KEYS[4], id .. ':token', id .. ':until')
if ARGV[6] == '1' then
	redis.call('HSET', KEYS[4], id .. ':next', int(attempt + 1), id .. ':status', ARGV[8], id .. ':error', ARGV[9])
else
	redis.call('HSET', KEYS[4], id .. ':next', int(attempt))
end
return {'ok'}
