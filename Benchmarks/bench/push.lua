-- Pushes a fixed number of requests with new event ids and counts what was acknowledged.
--
-- Settings come by environment: PUSH_PATH, PUSH_REQUESTS, PUSH_ROWS (events a request), PUSH_RUN (makes the ids
-- of this run new), PUSH_KEYS. After the last request the connections ask for /health/ready until every push
-- was answered, so nothing is under way at the end and the count is exact.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { int64_t seconds; int64_t nanoseconds; } bench_time;
int clock_gettime(int clock, bench_time *time);
int getpid(void);
int kill(int pid, int signal);
]]

local path = os.getenv("PUSH_PATH")
local total = tonumber(os.getenv("PUSH_REQUESTS"))
local rows = tonumber(os.getenv("PUSH_ROWS"))
local run = os.getenv("PUSH_RUN")
local keys = tonumber(os.getenv("PUSH_KEYS"))
local variants = rows > 1 and 64 or 4096
local headers = { ["Content-Type"] = "application/x-ndjson" }
local threads = {}
local bodies = {}
local verified = false
local reading = ffi.new("bench_time")

-- Globals, because the end of the run reads them from this thread.
sent, acknowledged, answered, refused, first, last = 0, 0, 0, 0, 0, 0
complaint = ""

local function now()
  ffi.C.clock_gettime(1, reading)
  return tonumber(reading.seconds) + tonumber(reading.nanoseconds) * 1e-9
end

function setup(thread) table.insert(threads, thread) end

function init(_)
  math.randomseed(7)
  local before = os.time() - 3600
  for variant = 1, variants do
    local pieces = {}
    for row = 1, rows do
      -- The id is completed when the request is sent.
      table.insert(pieces, '{"id":"')
      table.insert(pieces, "")
      table.insert(pieces, string.format(
        '-%d","k":%d,"kind":"%s","value":%.2f,"at":"%s.%06dZ"}\n', row, math.random(0, keys - 1),
        row % 3 == 0 and "buy" or "view", math.random() * 100,
        os.date("!%Y-%m-%dT%H:%M:%S", before + math.random(0, 3000)), math.random(0, 999999)))
    end
    bodies[variant] = pieces
  end
  filler = wrk.format("GET", "/health/ready")
end

function request()
  -- The first call only checks the script; its request is never sent.
  if not verified or sent == total then
    verified = true
    return filler
  end
  if sent == 0 then first = now() end
  sent = sent + 1
  local pieces = bodies[sent % variants + 1]
  local id = run .. sent
  for row = 0, rows - 1 do pieces[row * 3 + 2] = id end
  return wrk.format("POST", path, headers, table.concat(pieces))
end

function response(status, _, body)
  if status == 200 or status == 202 then
    local accepted = body:match('"accepted":%s*(%d+)')
    if accepted then
      acknowledged = acknowledged + tonumber(accepted)
    elseif body:find('^{"id"') then
      acknowledged = acknowledged + rows
    else
      return
    end
  else
    refused = refused + 1
    complaint = status .. " " .. body:sub(1, 300)
  end
  answered = answered + 1
  if answered == total then
    last = now()
    wrk.thread:stop()
    ffi.C.kill(ffi.C.getpid(), 2)
  end
end

function done(_, latency, _)
  local thread = threads[1]
  -- Where time ran out first, the rate is that of the time that was given.
  local finish = thread:get("last")
  if finish == 0 then finish = now() end
  io.write(string.format(
    '{"sent":%d,"answered":%d,"acknowledged":%d,"refused":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d}\n',
    thread:get("sent"), thread:get("answered"), thread:get("acknowledged"), thread:get("refused"),
    finish - thread:get("first"), latency:percentile(50), latency:percentile(99)))
  if thread:get("complaint") ~= "" then io.stderr:write(thread:get("complaint"), "\n") end
end
