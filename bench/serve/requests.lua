-- SPDX-License-Identifier: Apache-2.0
--
-- For wrk: the requests of a file (u32 count, then u32 bytes and the bytes of each, little-endian), round robin; at the
-- end one JSON object on the last line.
local requests, at = {}, 0

local function u32(text, from)
    local a, b, c, d = string.byte(text, from, from + 3)
    return a + 256 * (b + 256 * (c + 256 * d))
end

function init(args)
    local file = assert(io.open(args[1], "rb"))
    local text, from = file:read("*a"), 5
    file:close()
    for i = 1, u32(text, 1) do
        local bytes = u32(text, from)
        requests[i] = string.sub(text, from + 4, from + 3 + bytes)
        from = from + 4 + bytes
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format('\n{"all": %d, "seconds": %.6f, "failed": %d, "p50_us": %.1f, "p99_us": %.1f}\n',
        summary.requests, summary.duration / 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
