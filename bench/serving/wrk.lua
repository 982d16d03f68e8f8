-- Sends the requests of a folder in turn, and compares each answer with what the model's file alone gives.
--
-- wrk ... -s wrk.lua URL -- FOLDER CONTENT_TYPE REQUESTS TOLERANCE
--
-- wrk does not say which connection an answer came on. So an answer is right if it is that of some request that was
-- sent and not yet answered; with one connection that is the request itself.
--
-- The rate is that of a while which begins when the server has its batches full and ends with the run. Over the whole run
-- a server would lose what it has half done at the end, which is more the larger its batches are. Where answers are few,
-- as each is of many images, one more or less would count: then it is that from the first answer to the last one.

local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int, moment *);")

local RAMP = 0.5 -- seconds after the first answer
local FEW = 100 -- answers
local MONOTONIC = ffi.os == "OSX" and 6 or 1 -- of clock_gettime

local threads = {}

local function now()
  local moment = ffi.new("moment[1]")
  assert(ffi.C.clock_gettime(MONOTONIC, moment) == 0)
  return tonumber(moment[0].seconds) + tonumber(moment[0].nanoseconds) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

local requests, expected, sent, position = {}, {}, {}, {}
local labels, tolerance, last = 0, 0, 0
statuses, wrong, right, steady, first_time, last_time = {}, 0, 0, 0, math.huge, 0 -- global, so that `done` can get them

local function read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end

function init(args)
  local folder, content_type, count = args[1], args[2], tonumber(args[3])
  tolerance = tonumber(args[4])
  for label in read(folder .. "/labels"):gmatch("[^\n]+") do
    labels = labels + 1
    position[label] = labels
  end
  for index = 1, count do
    local body = read(folder .. "/" .. index .. ".body")
    requests[index] = wrk.format("POST", nil, {["Content-Type"] = content_type}, body)
    expected[index], sent[index] = {}, 0
    for number in read(folder .. "/" .. index .. ".expected"):gmatch("%S+") do
      table.insert(expected[index], tonumber(number))
    end
  end
end

function request()
  last = last % #requests + 1
  sent[last] = sent[last] + 1
  return requests[last]
end

-- The probabilities of an answer: those of an image follow one another, in the order of the labels.
local function probabilities(body)
  local found, count = {}, 0
  for name, number in body:gmatch('"([^"]+)":%s*([%d.eE+-]+)') do
    local place = position[name]
    if place then
      found[math.floor(count / labels) * labels + place] = tonumber(number)
      count = count + 1
    end
  end
  return found, count
end

local function equal(found, count, numbers)
  if count ~= #numbers then
    return false
  end
  for place = 1, count do
    if not found[place] or not (math.abs(found[place] - numbers[place]) <= tolerance) then
      return false
    end
  end
  return true
end

function response(status, headers, body)
  local time = now()
  statuses[status] = (statuses[status] or 0) + 1
  first_time, last_time = math.min(first_time, time), time
  if status ~= 200 then
    return
  end
  local found, count = probabilities(body)
  for index, numbers in ipairs(expected) do
    if sent[index] > 0 and equal(found, count, numbers) then
      sent[index] = sent[index] - 1
      right = right + 1
      steady = steady + (time >= first_time + RAMP and 1 or 0)
      return
    end
  end
  wrong = wrong + 1
end

local function rate_of(thread, time)
  local right, first, last = thread:get("right"), thread:get("first_time"), thread:get("last_time")
  if right >= FEW then
    return thread:get("steady") / math.max(1e-9, time - first - RAMP)
  end
  return right > 1 and (right - 1) / (last - first) or 0
end

function done(summary, latency, requests)
  local counts, rights, wrongs, rate, time = {}, 0, 0, 0, now()
  for _, thread in ipairs(threads) do
    rate = rate + rate_of(thread, time)
    rights = rights + thread:get("right")
    wrongs = wrongs + thread:get("wrong")
    for status, count in pairs(thread:get("statuses")) do
      counts[status] = (counts[status] or 0) + count
    end
  end
  local parts = {}
  for status, count in pairs(counts) do
    table.insert(parts, string.format('"%d": %d', status, count))
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"rate": %.6f, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "right": %d, "wrong": %d, "lost": %d, "statuses": {%s}}\n',
    rate, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, rights, wrongs,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(parts, ", ")))
end
