-- wrk's script: the requests of a file (see requests.py), in random order, each under a key of its own.
--   wrk … -s bench/requests.lua URL -- FILE KEY_PREFIX
-- Prints one line of JSON at the end. "keyed": how many with a key were sent.

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

function init(args)
  requests, prefix, keyed = {}, args[2] .. "-" .. number .. "-", 0
  local file = assert(io.open(args[1], "rb"))
  for line in file:lines() do
    local has_key, before, after = line:match("^(%d) (%d+) (%d+)$")
    requests[#requests + 1] = {
      file:read(tonumber(before)), tonumber(after) > 0 and file:read(tonumber(after)) or "", has_key == "1",
    }
  end
  file:close()
  local seed = 0
  for i = 1, #prefix do seed = (seed * 31 + prefix:byte(i)) % 2147483647 end
  math.randomseed(seed)
end

function request()
  local chosen = requests[math.random(#requests)]
  if not chosen[3] then return chosen[1] end
  keyed = keyed + 1
  return chosen[1] .. prefix .. keyed .. chosen[2]
end

function done(summary, latency, _)
  local errors, sent = summary.errors, 0
  for _, thread in ipairs(threads) do sent = sent + thread:get("keyed") end
  io.write(string.format(
    '{"requests": %d, "keyed": %d, "seconds": %.6f, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, ' ..
    '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
    summary.requests, sent, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
