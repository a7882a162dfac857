-- A page of the ids of keys that matter, and where the sequence stands before
-- their records are read.
--
-- KEYS[1]  index (sorted set: id by expiry, ms)
-- KEYS[2]  meta (hash)
-- ARGV[1]  a secret, for where there is none
-- ARGV[2]  offset
-- ARGV[3]  how many at most
-- Returns  {epoch, seq, TIME in ms, secret, id ...}

-- What is missing is made, so that every replica has the secret before the first
-- change is published; and it lives while a replica polls.
local meta = redis.pcall('HMGET', KEYS[2], 'epoch', 'seq', 'secret')
if meta.err then
	redis.pcall('DEL', KEYS[2])
	meta = {}
end
local time = redis.call('TIME')
if not meta[1] and not meta[3] then
	local epoch = time[1] .. '-' .. time[2]
	local made = {epoch, '0', redis.sha1hex(ARGV[1] .. epoch)}
	local done = redis.pcall('HSET', KEYS[2], 'epoch', made[1], 'seq', 0, 'secret', made[3])
	if type(done) ~= 'table' then meta = made end -- else Redis takes no writes now: nothing is known
end
if redis.call('PTTL', KEYS[2]) < 43200000 then redis.pcall('PEXPIRE', KEYS[2], 86400000) end
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local reply = {meta[1] or '', meta[2] or '0', now, meta[3] or ''}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'LIMIT', ARGV[2], ARGV[3])) do
	reply[#reply + 1] = id
end
return reply
