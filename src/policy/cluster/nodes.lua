-- KEYS: a hash of nodes, and that of leases. ARGV: the node, milliseconds after which one that said nothing is gone, its words (none: it leaves), and
-- where the look through the leases goes on for those that nobody has any more.
-- Answers where that goes on, then of those nodes that said something within a day number, milliseconds since, and words in turn.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now, ARGV[3]))
end
-- Nobody gets more than he had for as long as a lease lasts since leases were forgotten, or all had ended: that begins as soon as a node comes.
local stamp, set = string.format('%.0f', now), {}
local known = redis.call('HMGET', KEYS[2], '=', '~')
local last = tonumber(known[2] or '')
if not known[1] then set[1], set[2] = '=', stamp end
if last and last + tonumber(ARGV[2]) < now then set[#set + 1], set[#set + 2] = '-', stamp end
set[#set + 1], set[#set + 2] = '~', stamp
redis.call('HSET', KEYS[2], unpack(set))
local all, here, away, gone = redis.call('HGETALL', KEYS[1]), {}, {}, {}
for at = 1, #all, 2 do
  local said, words = string.match(all[at + 1], '^(%d+) (.*)$')
  if said and tonumber(said) + 86400000 > now then
    local ago = string.format('%.0f', math.max(0, now - tonumber(said)))
    -- Those that are there come first, and each is short, whatever was put here: an answer has a bound.
    local place = tonumber(said) + tonumber(ARGV[2]) > now and here or away
    if #place < 3072 then
      place[#place + 1], place[#place + 2], place[#place + 3] = string.sub(all[at], 1, 64), ago, string.sub(words, 1, 700)
    end
  elseif #gone < 1000 then
    gone[#gone + 1] = all[at]
  end
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
local looked, dead = redis.call('HSCAN', KEYS[2], ARGV[4], 'COUNT', '200'), {}
for at = 1, #looked[2], 2 do
  local alive = #looked[2][at] == 1
  for ends in string.gmatch(looked[2][at + 1], '(%d+);') do alive = alive or tonumber(ends) > now end
  if not alive and #dead < 1000 then dead[#dead + 1] = looked[2][at] end
end
if #dead > 0 then redis.call('HDEL', KEYS[2], unpack(dead)) end
for at = 1, #away do here[#here + 1] = away[at] end
return {looked[1], here}
