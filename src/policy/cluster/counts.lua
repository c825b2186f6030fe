-- The only authority over counts of a period: quotas, and volumes of warm-up. KEYS[1]: since when this knows anything; then of each count a hash of
-- what each node was granted of it, under # and the node the number of the question that said so last, = what all were, > how many days a plan is
-- behind, and ! what a provider said.
-- ARGV: the node, and for how many milliseconds after it forgot this gives nothing; then of each count all of it, what the node should have been
-- granted in all, what it has been (a question that comes again takes nothing twice), the number of the question, milliseconds until it is
-- forgotten, days behind, and what was said.
-- Answers for how many milliseconds nothing is given, and since when it knows; then of each count what the node was granted, what all were, days behind,
-- and what was said.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, lasts = ARGV[1], tonumber(ARGV[2])
local began = tonumber(redis.call('GET', KEYS[1]) or '')
if not began or began > now + lasts then
  began = now
  redis.call('SET', KEYS[1], string.format('%.0f', now))
end
local grace = math.max(began + lasts - now, 0)
local answer = {grace, began}
for place = 2, #KEYS do
  local at = 3 + (place - 2) * 7
  local most, want, held = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local turn, kept = tonumber(ARGV[at + 3]), ARGV[at + 4]
  local had = redis.call('HMGET', KEYS[place], node, '#' .. node, '=', '>', '!')
  local mine, last, total = tonumber(had[1] or '') or 0, tonumber(had[2] or '') or 0, tonumber(had[3] or '') or 0
  local behind = math.max(tonumber(had[4] or '') or 0, tonumber(ARGV[at + 5]))
  local said = math.max(tonumber(had[5] or '') or 0, tonumber(ARGV[at + 6]))
  local others = math.max(total - mine, 0)
  -- What a node has it has, whatever this remembers of it.
  local given = held
  if grace == 0 then given = math.max(held, math.min(want, most - others)) end
  -- A question that was overtaken takes back nothing that another was given.
  if turn < last then
    given, turn = math.max(given, mine), last
  end
  if given > 0 or mine > 0 or behind > 0 or said > 0 then
    redis.call('HSET', KEYS[place], node, string.format('%.0f', given), '#' .. node, string.format('%.0f', turn),
      '=', string.format('%.0f', others + given), '>', behind, '!', said)
    redis.call('PEXPIRE', KEYS[place], kept)
  end
  for _, number in ipairs({given, others + given, behind, said}) do answer[#answer + 1] = number end
end
return answer
