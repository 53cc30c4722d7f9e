-- Completes Envoy's own replies. The table CODES is rendered above: the gRPC status of each HTTP status.
--
-- gRPC-Web: Envoy's filter makes INTERNAL of 400, UNKNOWN of 405, 413 and 415, and UNAVAILABLE, which clients retry, of
-- 429 and 504.
-- A refusal by Envoy's rate limit gets the fields of draft-ietf-httpapi-ratelimit-headers.
-- JSON: the field that the transcoder names in its message is added as a google.rpc.BadRequest.

local ERROR_INFO = '{"code":3,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
  .. '"domain":"graphmesh","reason":"INVALID_REQUEST"}'
local MESSAGE = '],"message":"'
local PATTERNS = {
  '^([%w_%.%[%]]+): ',
  '^Could not find field \\"([%w_%.]+)\\"',
  '^: invalid value .* for type ([%w_]+)$',
}

local function field_of(message)
  for _, pattern in ipairs(PATTERNS) do
    local field = string.match(message, pattern)
    if field then
      return field
    end
  end
end

-- Gives a request in gRPC-Web the route of its method: see `grpc_web` in routes.py.
function envoy_on_request(request)
  local headers = request:headers()
  if string.find(headers:get("content-type") or "", "application/grpc-web", 1, true) then
    headers:replace("x-graphmesh-web", "1")
    request:clearRouteCache()
  end
end

local function name_rate(headers)
  local limit, reset = headers:get("x-ratelimit-limit"), headers:get("x-ratelimit-reset")
  if limit and reset then
    headers:replace("ratelimit-policy", '"edge";q=' .. limit)
    headers:replace("ratelimit", '"edge";r=0;t=' .. reset)
    headers:replace("retry-after", reset)
  end
end

function envoy_on_response(response)
  local headers = response:headers()
  if string.find(headers:get("x-envoy-response-flags") or "", "RL", 1, true) then
    name_rate(headers)
  end
  local status = headers:get(":status")
  local code = CODES[status]
  if not code then
    return
  end
  if string.find(headers:get("content-type") or "", "application/grpc", 1, true) then
    headers:replace("grpc-status", code)
    return
  end
  local body = response:body()
  local text = body and body:getBytes(0, body:length()) or ""
  if string.sub(text, 1, #ERROR_INFO + #MESSAGE) ~= ERROR_INFO .. MESSAGE then
    return
  end
  local message = string.match(string.sub(text, #ERROR_INFO + #MESSAGE + 1), '^(.*)"}')
  local field = message and field_of(message)
  if field then
    local violation = '{"field":"' .. field .. '","description":"' .. message .. '"}'
    local bad_request = ',{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[' .. violation .. "]}"
    body:setBytes(ERROR_INFO .. bad_request .. MESSAGE .. message .. '"}\n')
  end
end
