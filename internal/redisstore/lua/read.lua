-- Snapshots of several keys.
--
-- KEYS     meta (hash), then records
-- ARGV[1]  longest hold, ms
-- Returns  a list per record: empty where there is none or it can't be read, else a
--          snapshot as in common.lua
local m = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
local seq = tonumber(m[2])
meta = {epoch = m[1] or '', seq = seq and seq >= 0 and seq < 2 ^ 40 and seq or 0}
local reply = {}
for i = 2, #KEYS do
	local h = redis.pcall('HMGET', KEYS[i], 'v', 'key')
	if h.err or h[1] ~= '3' or not h[2] then
		reply[#reply + 1] = {}
	else
		local r = read(KEYS[i])
		rewind(r)
		limit(r, tonumber(ARGV[1]))
		reply[#reply + 1] = snapshot(r, h[2])
	end
end
return reply
