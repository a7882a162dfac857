-- Whether anything has changed: what a replica asks about once a second.
--
-- KEYS[1]  meta (hash)
-- Returns  {epoch, seq, TIME in ms, secret}

local meta = redis.pcall('HMGET', KEYS[1], 'epoch', 'seq', 'secret')
if meta.err then meta = {} end
local time = redis.call('TIME')
return {meta[1] or '', meta[2] or '0', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), meta[3] or ''}
