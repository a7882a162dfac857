-- Snapshots of several keys.
--
-- KEYS     meta (hash), then records
-- ARGV[1]  longest hold, ms
-- Returns  a list per record: empty where there is none or it can't be read, else a
--          snapshot as in common.lua
local m = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
meta = {epoch = m[1] or '', seq = number(m[2])}
local reply = {}
for i = 2, #KEYS do
	local h = redis.pcall('HMGET', KEYS[i], 'v', 'key')
	if h.err or h[1] ~= '2' or not h[2] then
		reply[#reply + 1] = {}
	else
		local r = read(KEYS[i])
		rewind(r)
		limit(r, tonumber(ARGV[1]))
		reply[#reply + 1] = snapshot(r, h[2])
	end
end
return reply
