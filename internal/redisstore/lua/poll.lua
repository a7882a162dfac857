-- Whether anything has changed. One replica asks for the fleet: the heartbeat, which this
-- publishes, says to the others what it says to the one that asked, and that their
-- subscriptions are alive. It begins with meta.lua.
--
-- KEYS, ARGV[1]  as in meta.lua
-- ARGV[2]        channel
-- ARGV[3]        ms between heartbeats
-- Returns        {epoch, seq, TIME in ms, secret, last clear}
--
-- A heartbeat counts as a change: a subscription that loses it is found as one that
-- loses changes is. Redis bounds how many there are, and not the replicas: those that
-- receive nothing poll often, and all the others would receive a heartbeat for each poll.
local seq, beat = tonumber(meta[2] or '0'), tonumber(meta[4] or '0') or 0
local sane = meta[1] and meta[3] and seq and seq >= 0 and seq < 2 ^ 40 and seq % 1 == 0 -- else the next report repairs it
if sane and not (beat <= now and now - beat < tonumber(ARGV[3])) then
	local next = string.format('%.0f', seq + 1)
	local done = redis.pcall('HSET', KEYS[1], 'seq', next, 'beat', string.format('%.0f', now))
	if type(done) ~= 'table' then -- else Redis takes no writes now
		redis.pcall('PEXPIRE', KEYS[1], 86400000)
		local text = string.format('3 %s %s %.0f', meta[1], next, now)
		local heard = redis.pcall('PUBLISH', ARGV[2], redis.sha1hex(meta[3] .. redis.sha1hex(meta[3] .. text)) .. ' ' .. text)
		if type(heard) == 'number' then
			meta[2] = next
		else
			redis.pcall('HSET', KEYS[1], 'seq', meta[2]) -- no right to publish: nothing was lost
		end
	end
end
return {meta[1] or '', meta[2] or '0', string.format('%.0f', now), meta[3] or '', cleared}
