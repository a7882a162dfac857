-- The last changes of a namespace, the latest first.
--
-- KEYS[1]  changes (stream)   ARGV[1]  how many at most
-- Returns  the texts, as published
local texts = {}
for i, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])) do
	texts[i] = entry[2][2]
end
return texts
