-- What poll.lua and index.lua share: epoch, sequence and secret of the data, and the last clear.
--
-- KEYS[1]  meta (hash)
-- ARGV[1]  a secret, for where there is none; '' to look and change nothing
--
-- What is missing is made, so that every replica has the secret before the first
-- change is published; and it lives while a replica polls.
local meta = redis.pcall('HMGET', KEYS[1], 'epoch', 'seq', 'secret', 'beat', 'cleared')
if meta.err then
	if ARGV[1] ~= '' then redis.pcall('DEL', KEYS[1]) end
	meta = {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' and not meta[1] and not meta[3] then
	local epoch = time[1] .. '-' .. time[2]
	local made = {epoch, '0', redis.sha1hex(ARGV[1] .. epoch)}
	local done = redis.pcall('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'secret', made[3])
	if type(done) ~= 'table' then meta = made end -- else Redis takes no writes now: nothing is known
	redis.pcall('PEXPIRE', KEYS[1], 86400000)
end
local cleared = meta[5] and tonumber(meta[5]) or 0
if not (cleared >= 0 and cleared < 2 ^ 52) then cleared = 0 end
cleared = string.format('%.0f', cleared)
