-- Parks a request, and drops what is too old or has to make room, but nothing
-- that is claimed.
--
-- KEYS[1]  index (sorted set: id by time of parking, ms)
-- KEYS[2]  heads (hash: id to JSON)
-- KEYS[3]  bodies (hash: id to bytes)
-- KEYS[4]  states (hash: id:field to value; bytes, evicted)
-- KEYS[5]  summaries (hash: id to JSON)
-- ARGV     1 id  2 head  3 body  4 summary  5 size  6 attempts  7 status  8 error
--          9 most requests  10 most bytes  11 longest age, ms
-- Returns  {'ok'}, or {'full'} where what is claimed leaves no room

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(n) return string.format('%.0f', n) end
local function state(id, field) return redis.call('HGET', KEYS[4], id .. ':' .. field) end
local function claimed(id) return now < (tonumber(state(id, 'until')) or 0) end
local function size(id) return tonumber(state(id, 'size')) or 0 end
local bytes = tonumber(redis.call('HGET', KEYS[4], 'bytes')) or 0

local function drop(id)
	bytes = bytes - size(id)
	redis.call('ZREM', KEYS[1], id)
	for _, key in ipairs({KEYS[2], KEYS[3], KEYS[5]}) do redis.call('HDEL', key, id) end
	redis.call('HDEL', KEYS[4], id .. ':next', id .. ':status', id .. ':error', id .. ':size', id .. ':token', id .. ':until')
end

-- go-redis runs a script again when its answer was late.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
	return {'ok'}
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now - tonumber(ARGV[11])), 'LIMIT', 0, 1000)) do
	if not claimed(id) then drop(id) end
end

local victims, seen, count, sum = {}, 0, redis.call('ZCARD', KEYS[1]), bytes
while count >= tonumber(ARGV[9]) or sum + ARGV[5] > tonumber(ARGV[10]) do
	local id = redis.call('ZRANGE', KEYS[1], seen, seen)[1]
	if not id then
		-- With nothing claimed, bytes counts what Redis has evicted.
		if seen > #victims then return {'full'} end
		break
	end
	seen = seen + 1
	if not claimed(id) then
		victims[#victims + 1] = id
		count, sum = count - 1, sum - size(id)
	end
end
for _, id in ipairs(victims) do
	drop(id)
	redis.call('HINCRBY', KEYS[4], 'evicted', 1)
end
if redis.call('ZCARD', KEYS[1]) == 0 then bytes = 0 end

redis.call('ZADD', KEYS[1], int(now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[5], ARGV[1], ARGV[4])
redis.call('HSET', KEYS[4], ARGV[1] .. ':size', ARGV[5], ARGV[1] .. ':next', ARGV[6], ARGV[1] .. ':status', ARGV[7],
	ARGV[1] .. ':error', ARGV[8], 'bytes', int(bytes + ARGV[5]))
-- A claim may have made a key last longer.
local ttl = tonumber(ARGV[11]) + 60000
for _, key in ipairs(KEYS) do
	if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, int(ttl)) end
end
return {'ok'}
