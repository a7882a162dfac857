-- What is parked, the latest first. It reads summaries alone: one list is at most
-- a few KiB for each request, however long the request is.
--
-- KEYS[1]  index (sorted set: id by time of parking, ms)
-- KEYS[2]  summaries (hash: id to JSON)
-- KEYS[3]  states (hash: id:field to value; bytes, evicted)
-- ARGV     1 how many at most  2 longest age, ms
-- Returns  {total, {age ms, summary, next, status, error, in flight (0, 1)} ...}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(n) return string.format('%.0f', n) end
local from = int(now - tonumber(ARGV[2]) + 1)

local reply = {int(redis.call('ZCOUNT', KEYS[1], from, '+inf'))}
local ids = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', from, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for i = 1, #ids, 2 do
	local id = ids[i]
	local summary = redis.call('HGET', KEYS[2], id)
	local s = redis.call('HMGET', KEYS[3], id .. ':next', id .. ':status', id .. ':error', id .. ':until')
	if summary then
		reply[#reply + 1] = {int(now - tonumber(ids[i + 1])), summary, s[1] or '0', s[2] or '0', s[3] or '',
			now < (tonumber(s[4]) or 0) and '1' or '0'}
	end
end
return reply
