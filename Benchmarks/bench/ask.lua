-- Asks about entities in random order; ASK_BODY is the request with KEY where a key goes.
local path = os.getenv("ASK_PATH")
local template = os.getenv("ASK_BODY")
local keys = tonumber(os.getenv("ASK_KEYS"))
local requests = {}
local count = #template > 1000 and 256 or 4096

function init(_)
  math.randomseed(11)
  local headers = { ["Content-Type"] = "application/json" }
  -- Large requests are fewer, so that making them does not take the time of the run.
  for number = 1, count do
    local body = template:gsub("KEY", function() return tostring(math.random(0, keys - 1)) end)
    requests[number] = wrk.format("POST", path, headers, body)
  end
end

local position = 0
function request()
  position = position % count + 1
  return requests[position]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"errors":%d,"p50_us":%d,"p99_us":%d}\n', summary.requests,
    summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
