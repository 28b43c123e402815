-- wrk's script: each request is a POST of a transfer between two random accounts, under a key of its own.
--   wrk … -s bench/transfers.lua URL -- ACCOUNTS KEY_PREFIX
-- ACCOUNTS: a file of lines "token account_id". Prints one line of JSON at the end.

local path = "/api/v1/transactions"
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  heads, bodies, prefix, count = {}, {}, args[2] .. "-" .. number .. "-", 0
  for line in io.lines(args[1]) do
    local token, id = line:match("^(%S+) (%S+)$")
    heads[#heads + 1] = {
      "POST " .. path .. " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " .. token ..
      "\r\nContent-Type: application/json\r\nContent-Length: %d\r\nIdempotency-Key: ",
      '\r\n\r\n{"transaction":{"debit_account_id":"' .. id .. '","credit_account_id":"',
    }
    bodies[#bodies + 1] = id
  end
  -- The length is always the same: ids have 36 characters, amounts three digits.
  local length = #('{"transaction":{"debit_account_id":"' .. bodies[1] .. '","credit_account_id":"' .. bodies[1] ..
    '","amount":100}}')
  for _, head in ipairs(heads) do head[1] = head[1]:format(length) end
  local seed = 0
  for i = 1, #prefix do seed = (seed * 31 + prefix:byte(i)) % 2147483647 end
  math.randomseed(seed)
end

function request()
  local debit, credit = math.random(#bodies), math.random(#bodies - 1)
  if credit >= debit then credit = credit + 1 end
  count = count + 1
  local head = heads[debit]
  return head[1] .. prefix .. count .. head[2] .. bodies[credit] .. '","amount":' .. math.random(100, 999) .. "}}"
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, ' ..
    '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
