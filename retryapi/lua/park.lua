-- Parks a request, and drops what is too old or has to make room.
--
-- KEYS[1]  index (sorted set: id by time of parking, ms)
-- KEYS[2]  heads (hash: id to JSON)
-- KEYS[3]  bodies (hash: id to bytes)
-- KEYS[4]  states (hash: id:field to value; bytes, evicted)
-- ARGV     1 id  2 head  3 body  4 attempts  5 status  6 error
--          7 most requests  8 most bytes  9 longest age, ms
-- Returns  {'ok'}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(n) return string.format('%.0f', n) end
local bytes = tonumber(redis.call('HGET', KEYS[4], 'bytes') or '0')

local function drop(id)
	bytes = bytes - redis.call('HSTRLEN', KEYS[3], id)
	redis.call('ZREM', KEYS[1], id)
	redis.call('HDEL', KEYS[2], id)
	redis.call('HDEL', KEYS[3], id)
	redis.call('HDEL', KEYS[4], id .. ':next', id .. ':status', id .. ':error', id .. ':token', id .. ':until')
end

-- go-redis runs a script again when its answer was late.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
	return {'ok'}
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now - tonumber(ARGV[9])), 'LIMIT', 0, 1000)) do
	drop(id)
end
while true do
	local many = redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[7])
	local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
	if not oldest or not (many or bytes + #ARGV[3] > tonumber(ARGV[8])) then break end
	drop(oldest)
	redis.call('HINCRBY', KEYS[4], 'evicted', 1)
end

redis.call('ZADD', KEYS[1], int(now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[4], ARGV[1] .. ':next', ARGV[4], ARGV[1] .. ':status', ARGV[5], ARGV[1] .. ':error', ARGV[6],
	'bytes', int(bytes + #ARGV[3]))
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], int(tonumber(ARGV[9]) + 60000)) end
return {'ok'}
