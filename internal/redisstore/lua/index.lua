-- A page of the ids of keys that matter, and where the sequence stands before
-- their records are read. It begins with meta.lua.
--
-- KEYS[1]  meta (hash)
-- KEYS[2]  index (sorted set: id by expiry, ms)
-- ARGV[1]  as in meta.lua
-- ARGV[2]  offset
-- ARGV[3]  how many at most
-- Returns  {epoch, seq, TIME in ms, secret, last clear, id ...}

now = string.format('%.0f', now)
local reply = {meta[1] or '', meta[2] or '0', now, meta[3] or '', cleared}
local ids = redis.pcall('ZRANGEBYSCORE', KEYS[2], now, '+inf', 'LIMIT', ARGV[2], ARGV[3])
if ids.err and string.sub(ids.err, 1, 9) ~= 'WRONGTYPE' then return ids end
for _, id in ipairs(ids) do -- none where it is of another type: the next report replaces it
	reply[#reply + 1] = id
end
return reply
