-- Whether anything has changed: what a replica asks about once a second. It begins
-- with meta.lua.
--
-- KEYS, ARGV  as in meta.lua
-- Returns     {epoch, seq, TIME in ms, secret}

return {meta[1] or '', meta[2] or '0', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), meta[3] or ''}
