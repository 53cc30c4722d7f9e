-- Sets tenant, subject and scopes of a call from the claims of its verified token, and from nothing else.
--
-- Before it, the edge has removed every header of ours that the client sent, and `jwt_authn` has verified the token.
-- The tables CLAIMS, ROLES, ALGORITHMS and REFUSALS, and the constant ERROR_INFO, are rendered above. ERROR_INFO is the
-- serialized google.rpc.ErrorInfo of UNAUTHENTICATED as field 3 of google.rpc.Status.

local function claim_of(payload, name)
  if payload[name] ~= nil then
    return payload[name]
  end
  local value = payload
  for part in string.gmatch(name, "[^%.]+") do
    if type(value) ~= "table" then
      return nil
    end
    value = value[part]
  end
  return value
end

local function is_tenant(value)
  return type(value) == "string" and #value <= 63 and string.match(value, "^[a-z0-9][a-z0-9_-]*$") ~= nil
end

local function is_name(value)
  return type(value) == "string" and #value <= 255 and string.match(value, "^[\33-\126]+$") ~= nil
end

local function scopes_of(roles)
  local found, names = {}, {}
  if type(roles) == "string" then
    for role in string.gmatch(roles, "%S+") do
      table.insert(names, role)
    end
  elseif type(roles) == "table" then
    names = roles
  end
  for _, role in ipairs(names) do
    for _, scope in ipairs(type(role) == "string" and ROLES[role] or {}) do
      found[scope] = true
    end
  end
  local scopes = {}
  for scope in pairs(found) do
    table.insert(scopes, scope)
  end
  table.sort(scopes)
  return table.concat(scopes, " ")
end

local function refuse(request, name)
  request:respond({ [":status"] = "401" }, REFUSALS[name])
end

function envoy_on_request(request)
  local verified = request:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  if verified == nil then
    return -- a health check: nothing else passes without a token
  end
  for provider, claims in pairs(CLAIMS) do
    local payload = verified[provider]
    if payload ~= nil then
      local header = verified[provider .. "-header"]
      local tenant, subject = claim_of(payload, claims.tenant), claim_of(payload, claims.subject)
      local client = claim_of(payload, claims.client)
      if header == nil or not ALGORITHMS[header.alg] then
        return refuse(request, "algorithm")
      elseif not is_tenant(tenant) then
        return refuse(request, provider .. "-tenant")
      elseif not is_name(subject) then
        return refuse(request, provider .. "-subject")
      end
      local headers = request:headers()
      headers:replace("x-graphmesh-tenant", tenant)
      headers:replace("x-graphmesh-subject", subject)
      headers:replace("x-graphmesh-scopes", scopes_of(claim_of(payload, claims.roles)))
      if is_name(client) then
        headers:replace("x-graphmesh-client", client)
      end
      return
    end
  end
  refuse(request, "algorithm")
end

-- The bytes of a field of protobuf with a text: the tag, the length as a varint, the text.
local function text_field(tag, text)
  local length, encoded = #text, ""
  while length >= 128 do
    encoded, length = encoded .. string.char(length % 128 + 128), math.floor(length / 128)
  end
  return string.char(tag) .. encoded .. string.char(length) .. text
end

-- The message of Envoy's own refusal of a call in gRPC, or in gRPC-Web, where it is the body; nil of other responses.
local function refusal_message(response)
  local headers = response:headers()
  local status = headers:get(":status")
  if status == "401" or status == "403" then
    headers:replace(":status", "401")
    if string.find(headers:get("content-type") or "", "application/json", 1, true) then
      return nil
    end
    local body = response:body()
    return body and body:getBytes(0, body:length()) or ""
  end
  if headers:get("grpc-status") == "16" and not headers:get("grpc-status-details-bin") then
    return headers:get("grpc-message") or ""
  end
end

-- Gives refusals the details of the services' errors.
function envoy_on_response(response)
  local message = refusal_message(response)
  if message == nil then
    return
  end
  local headers = response:headers()
  local status = string.char(8, 16) .. text_field(18, message) .. ERROR_INFO
  headers:replace("grpc-status", "16")
  headers:replace("grpc-message", message)
  headers:replace("grpc-status-details-bin", response:base64Escape(status))
end
