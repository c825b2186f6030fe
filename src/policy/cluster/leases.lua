-- The only authority over leases. KEYS[1]: a hash, of each limit who has how much of it, needs how much, and until when; = since when it knows
-- that, ~ when somebody came last, - when somebody came again after all leases had ended.
-- ARGV: the node, milliseconds of a lease; then of each limit its name, all of it, what is wanted, what is needed, the level that others
-- are told by, what the node says that it has, and how many milliseconds it wants that for.
-- Answers milliseconds for which nobody gets more than he had, as this forgot or all had ended; then of each limit what is given, what others have,
-- what those need together who need no more than the level, how many need more, and how many there are.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, lease = ARGV[1], tonumber(ARGV[2])
local names = {'=', '~', '-'}
for at = 3, #ARGV, 7 do names[#names + 1] = ARGV[at] end
local held = redis.call('HMGET', KEYS[1], unpack(names))
local set, gone, answer = {}, {}, {}
local stamp = string.format('%.0f', now)
local began, last, ended = tonumber(held[1] or ''), tonumber(held[2] or ''), tonumber(held[3] or '')
if not began or began > now + lease then
  began = now
  set[1], set[2] = '=', stamp
end
-- Each has his share then, of what is not too small for that, and says so as soon as he is back: they are waited for as long as it takes to ask
-- again, a third of a lease.
if last and last + lease < now then
  ended = now
  set[#set + 1], set[#set + 2] = '-', stamp
end
set[#set + 1], set[#set + 2] = '~', stamp
local forgot = math.max(began + lease - now, 0)
local grace = math.max((ended or 0) + lease / 3 - now, forgot)
answer[1] = grace
for place = 4, #names do
  local at = 3 + (place - 4) * 7
  local most, want, need = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local level, mine, lasts = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local leased, small, large, others, kept = 0, 0, 0, 0, {}
  for entry, other, units, needs, ends in string.gmatch(held[place] or '', '((%x+) (%d+) (%d+) (%d+);)') do
    if other ~= node and tonumber(ends) > now then
      kept[#kept + 1] = entry
      leased, others, needs = leased + units, others + 1, tonumber(needs)
      if needs <= level then small = small + needs else large = large + 1 end
    end
  end
  local given = math.min(want, math.max(most - leased, 0))
  if forgot > 0 or (grace > 0 and mine > 0) then given = math.min(given, mine) end
  if want > 0 or need > 0 then
    kept[#kept + 1] = string.format('%s %.0f %.0f %.0f;', node, given, need, now + lasts)
  end
  if #kept > 0 then
    set[#set + 1], set[#set + 2] = names[place], table.concat(kept)
  elseif held[place] then
    gone[#gone + 1] = names[place]
  end
  for _, number in ipairs({given, leased, small, large, others}) do answer[#answer + 1] = number end
end
redis.call('HSET', KEYS[1], unpack(set))
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
return answer
