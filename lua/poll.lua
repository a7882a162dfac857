-- Whether anything has changed: what a replica asks about once a second.
--
-- KEYS[1]  meta (hash: epoch, seq)
-- Returns  {epoch, seq, TIME in ms}

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
local time = redis.call('TIME')
return {meta[1] or '', meta[2] or '0', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))}
