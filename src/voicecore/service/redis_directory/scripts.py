"""What is asked of Redis, in Lua: each script is one atomic step, by Redis' own clock.

The book of all instances is five keys, all in one hash slot (``{prefix}``) so that Redis
Cluster keeps them together::

    book     hash  run: which start of Redis this book belongs to; settled: until then (ms) not
                   all who live may stand in it; seen: when somebody spoke last (ms);
                   promised: sum of ``held``
    members  zset  instance -> when its lease ends (ms)
    held     hash  instance -> calls that it may hold: those it has or its share, whichever is more
    facts    hash  instance -> JSON: url, limit, draining, calls; process and turn: who speaks
    calls    zset  "instance session", all of score 0, so that an instance's stand in a row

A *share* is what an instance may hold without asking, when Redis is away. ``held`` is
raised before the instance hears of a larger share, and lowered only once the instance has
said itself that it holds the smaller one: so ``promised`` bounds all calls, whatever answer
was lost. Shares come out of the first half of the limit: they fade as calls become many, and
the last places are given to whoever asks.

An instance numbers its turns, and its processes are known by when they began: what comes late,
of an earlier turn or an earlier process, changes nothing.
"""

from __future__ import annotations

_NAMES = ("book", "members", "held", "facts", "calls")


def keys(prefix: str) -> list[str]:
    """The names of the keys, as the scripts expect them."""
    return [f"{{{prefix}}}:{name}" for name in _NAMES]


_COMMON = """
local book, members, held, facts, calls = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local me, process, turn = ARGV[1], ARGV[2], tonumber(ARGV[3])
local lease, cluster, share = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function number(key, field) return tonumber(redis.call('HGET', key, field) or 0) end

-- A blank ends a name: from it to the next character lie all calls of that instance.
local function calls_of(name)
  return redis.call('ZLEXCOUNT', calls, '[' .. name .. ' ', '(' .. name .. '!')
end
local function forget_calls(name)
  redis.call('ZREMRANGEBYLEX', calls, '[' .. name .. ' ', '(' .. name .. '!')
end

local function end_calls(first)
  for i = first, #ARGV do redis.call('ZREM', calls, me .. ' ' .. ARGV[i]) end
end

local function hold(name, count)
  redis.call('HINCRBY', book, 'promised', count - number(held, name))
  if count > 0 then redis.call('HSET', held, name, count)
  else redis.call('HDEL', held, name) end
end

local function forget(name)
  forget_calls(name)
  hold(name, 0)
  redis.call('HDEL', facts, name)
  redis.call('ZREM', members, name)
end

local function facts_of(name)
  local text = redis.call('HGET', facts, name)
  return text and cjson.decode(text)
end

local function settling() return math.max(0, number(book, 'settled') - now) end

-- What `me` may hold from now on without asking; `mine` are its facts, `known` what it
-- believes it may hold.
local function grant(mine, known)
  local count = mine.calls
  local goal = math.max(count, known)
  if cluster == 0 then
    goal, known = count, count
  elseif settling() == 0 then
    local others = number(book, 'promised') - number(held, me)
    local all = redis.call('ZCARD', calls)
    local part = math.floor((math.floor(cluster / 2) - all) / redis.call('ZCARD', members))
    part = math.min(part, cluster - others - count, mine.limit - count)
    if mine.draining then part = 0 end
    goal = count + math.max(part, 0)
  end
  hold(me, math.max(goal, known))
  return goal
end

local function answer(verdict, goal, given)
  local all, instances = redis.call('ZCARD', calls), redis.call('ZCARD', members)
  return {verdict, goal, all, instances, settling(), given or 0}
end

local function keep(mine)
  redis.call('ZADD', members, now + lease, me)
  redis.call('HSET', facts, me, cjson.encode(mine))
end

-- Another start of Redis: what it remembers, if anything, may be old. All begins anew, and until
-- all who live have come nothing is given but what they had. (Asked each time, 8 us: clients
-- reconnect without a word.)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', book, 'run') ~= run then
  redis.call('DEL', book, members, held, facts, calls)
  redis.call('HSET', book, 'run', run, 'settled', now + lease)
end

-- Nobody spoke for so long, though each speaks three times a lease: it was Redis that was away,
-- and who stands here has a right to come back.
local seen = number(book, 'seen')
if seen > 0 and now - seen > lease * 0.4 then
  for _, name in ipairs(redis.call('ZRANGE', members, 0, -1)) do
    redis.call('ZADD', members, now + lease, name)
  end
end
redis.call('HSET', book, 'seen', now)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', now)) do forget(name) end

-- Our facts, if we are who spoke last in our name; else what to answer.
local function myself()
  local mine = facts_of(me)
  if not mine then return nil, 'gone' end
  if mine.process ~= process then return nil, 'taken_over' end
  if mine.turn ~= turn then return nil, 'gone' end
  return mine
end
"""

JOIN = (
    _COMMON
    + """
-- url, limit, draining, sessions...
local before = facts_of(me)
if before and before.process > process then return answer('taken_over', 0) end
if before and before.process == process and before.turn >= turn then return answer('gone', 0) end
-- Whom the book has forgotten, or whose process is another, has no claim to a share.
local known = 0
if settling() > 0 or (before and before.process == process) then known = share end
forget_calls(me)
for i = 10, #ARGV do redis.call('ZADD', calls, 0, me .. ' ' .. ARGV[i]) end
local mine = {
  process = process, turn = turn, url = ARGV[7], limit = tonumber(ARGV[8]),
  draining = ARGV[9] == '1', calls = calls_of(me),
}
keep(mine)
return answer('ok', grant(mine, known))
"""
)
"""Says who we are and all that we have."""

RENEW = (
    _COMMON
    + """
-- draining, how many calls we have, those that are over...
local mine, why = myself()
if not mine then return answer(why, 0) end
end_calls(9)
mine.calls, mine.draining = calls_of(me), ARGV[7] == '1'
if mine.calls ~= tonumber(ARGV[8]) then return answer('gone', 0) end
keep(mine)
return answer('ok', grant(mine, share))
"""
)
"""Says that we are still there, and which calls are over."""

RESERVE = (
    _COMMON
    + """
-- how many calls we have, how many sessions want a place, these, those that are over...
local mine, why = myself()
if not mine then return answer(why, 0) end
local wanted = tonumber(ARGV[8])
end_calls(9 + wanted)
local count = math.max(calls_of(me), tonumber(ARGV[7]))
local places, rest = mine.limit, 'limit'
if cluster > 0 then
  local all = share
  if settling() == 0 then
    all = math.max(all, cluster - number(book, 'promised') + number(held, me))
  end
  if all < places then
    places, rest = all, settling() > 0 and 'settling' or 'full'
  end
end
if mine.draining then places, rest = 0, 'draining' end
local given = math.max(0, math.min(wanted, places - count))
for i = 9, 8 + given do redis.call('ZADD', calls, 0, me .. ' ' .. ARGV[i]) end
mine.calls = count + given
keep(mine)
return answer(given < wanted and rest or 'ok', grant(mine, share), given)
"""
)
"""Takes places for calls, as far as there are any: the first ones get them."""

LEAVE = (
    _COMMON
    + """
local mine = facts_of(me)
if mine and mine.process == process then forget(me) end
return answer('ok', 0)
"""
)
"""Our entries go at once."""

FIND = """
-- instance, session
local time = redis.call('TIME')
local ends = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0)
if ends <= time[1] * 1000 + math.floor(time[2] / 1000) then return false end
if not redis.call('ZSCORE', KEYS[5], ARGV[1] .. ' ' .. ARGV[2]) then return false end
return cjson.decode(redis.call('HGET', KEYS[4], ARGV[1])).url
"""
"""The URL of the instance, if it lives and has that session."""
