-- A page of the ids of keys that matter, and where the sequence stands before
-- their records are read.
--
-- KEYS[1]  index (sorted set: id by expiry, ms)
-- KEYS[2]  meta (hash)
-- ARGV[1]  offset
-- ARGV[2]  how many at most
-- Returns  {epoch, seq, TIME in ms, secret, id ...}

local meta = redis.pcall('HMGET', KEYS[2], 'epoch', 'seq', 'secret')
if meta.err then meta = {} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local reply = {meta[1] or '', meta[2] or '0', now, meta[3] or ''}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'LIMIT', ARGV[1], ARGV[2])) do
	reply[#reply + 1] = id
end
return reply
