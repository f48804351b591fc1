-- Publishes a batch in its order; what belongs to a history is kept there first, and published with its position.
-- KEYS: the stream of each message that is kept. ARGV: how many messages are kept, for how many milliseconds, and of each
-- message whether it is kept ('1' or '0'), its channel, its bytes. Returns of each message 1, or the error.
local count, age = ARGV[1], tonumber(ARGV[2])
local results, latest, kept = {}, {}, 0

local function keep(stream, channel, bytes)
  local id = redis.pcall('XADD', stream, 'MAXLEN', '~', count, '*', 'm', bytes)
  if type(id) == 'table' then
    return id
  end
  local result = redis.pcall('PUBLISH', channel, 'K' .. id .. ' ' .. bytes)
  if type(result) == 'table' then
    redis.pcall('XDEL', stream, id)
  else
    latest[stream] = id
  end
  return result
end

for i = 3, #ARGV, 3 do
  local result
  if ARGV[i] == '1' then
    kept = kept + 1
    result = keep(KEYS[kept], ARGV[i + 1], ARGV[i + 2])
  else
    result = redis.pcall('PUBLISH', ARGV[i + 1], ARGV[i + 2])
  end
  results[#results + 1] = type(result) == 'table' and result.err or 1
end

-- Once for each stream, since it matters little when: readers leave out what is too old.
for stream, id in pairs(latest) do
  redis.pcall('PEXPIRE', stream, age)
  local now = tonumber(string.match(id, '^%d+'))
  redis.pcall('XTRIM', stream, 'MINID', '~', string.format('%.0f', math.max(now - age, 0)))
end
return results
