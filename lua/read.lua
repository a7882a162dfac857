-- Snapshots of several keys.
--
-- KEYS     meta (hash: epoch, seq), then records
-- ARGV[1]  longest hold, ms
-- Returns  a list per record: empty where there is none or it is not ours, else
--          {epoch, seq, TIME ms, phase, time until T ms, generation, level,
--           word (0, 1), attempts, age of the last ms, status, witnesses,
--           sends per 1000 s, name}

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(n) return string.format('%.0f', n) end

local reply = {}
for i = 2, #KEYS do
	local r = redis.pcall('HMGET', KEYS[i], 'v', 'phase', 'until', 'generation', 'level', 'word', 'attempts',
		'timestamp', 'status', 'witnesses', 'key', 'rate')
	if r.err or r[1] ~= '1' then
		reply[#reply + 1] = {}
	else
		local n = {}
		for j = 3, 9 do n[j] = tonumber(r[j]) or 0 end
		local _, seen = string.gsub(r[10] or '', ':', '')
		local left = math.min(n[3] - now, tonumber(ARGV[1]))
		reply[#reply + 1] = {meta[1] or '', meta[2] or '0', int(now), r[2] or 'healthy', int(left), int(n[4]),
			int(n[5]), int(n[6]), int(n[7]), int(n[8] > 0 and now - n[8] or 0), int(n[9]), int(seen),
			int(math.min((tonumber(r[12]) or 0) * 1000, 2 ^ 52)), r[11] or ''}
	end
end
return reply
