-- Sets tenant, subject, roles and scopes of a call from the claims of its verified token, and from nothing else.
--
-- Before it, the edge has removed every header of ours that the client sent, and `jwt_authn` has verified the token.
-- The tables CLAIMS, ROLES, ALGORITHMS, REVOKED, REFUSALS, DENIALS and RBAC, and the constants ADVICE, ERROR_INFO and
-- HEALTH_CHECK, are rendered above. ADVICE ends the message to a caller without a valid token. ERROR_INFO is a serialized
-- google.rpc.Status of UNAUTHENTICATED without its message.

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

-- Whether the token, or all those of its subject or tenant from its time, are refused.
local function is_revoked(payload, tenant, subject)
  if payload.jti ~= nil and REVOKED.tokens[payload.jti] then
    return true
  end
  local issued = type(payload.iat) == "number" and payload.iat or 0
  local of_subject, of_tenant = REVOKED.subjects[tenant .. "/" .. subject], REVOKED.tenants[tenant]
  return (of_subject ~= nil and issued < of_subject) or (of_tenant ~= nil and issued < of_tenant)
end

local function joined(found)
  local names = {}
  for name in pairs(found) do
    table.insert(names, name)
  end
  table.sort(names)
  return table.concat(names, " ")
end

-- The known ones among the roles of a token, and their scopes.
local function roles_and_scopes(roles)
  local known, found, names = {}, {}, {}
  if type(roles) == "string" then
    for role in string.gmatch(roles, "%S+") do
      table.insert(names, role)
    end
  elseif type(roles) == "table" then
    names = roles
  end
  for _, role in ipairs(names) do
    local scopes = type(role) == "string" and ROLES[role]
    if scopes then
      known[role] = true
      for _, scope in ipairs(scopes) do
        found[scope] = true
      end
    end
  end
  return joined(known), joined(found)
end

local function refuse(request, name)
  request:respond({ [":status"] = "401" }, REFUSALS[name])
end

-- The claims of a token that `jwt_authn` has accepted; nil of other calls.
local function verified_claims(handle)
  return handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
end

function envoy_on_request(request)
  local verified = verified_claims(request)
  if verified == nil then
    if request:headers():get(":path") ~= HEALTH_CHECK then
      refuse(request, "issuer") -- with issuers, nothing but a health check passes without a token
    end
    return
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
      elseif is_revoked(payload, tenant, subject) then
        return refuse(request, "revoked")
      end
      local headers = request:headers()
      headers:replace("x-graphmesh-tenant", tenant)
      headers:replace("x-graphmesh-subject", subject)
      local roles, scopes = roles_and_scopes(claim_of(payload, claims.roles))
      headers:replace("x-graphmesh-roles", roles)
      headers:replace("x-graphmesh-scopes", scopes)
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

local function is_json(response)
  return string.find(response:headers():get("content-type") or "", "application/json", 1, true) ~= nil
end

-- The error of a call that RBAC has denied; nil of others.
local function denial(response)
  local found = response:streamInfo():dynamicMetadata():get(RBAC.filter)
  return found and found[RBAC.result] == RBAC.denied and DENIALS[found[RBAC.policy]] or nil
end

-- The message of a call in gRPC, or in gRPC-Web, where it is the body, without a valid token; nil of other responses.
-- HTTP 403 is what `jwt_authn` answers to a token of another audience, and of a call with a token a service's refusal.
local function refusal_message(response)
  local headers = response:headers()
  local status = headers:get(":status")
  if status == "401" or (status == "403" and verified_claims(response) == nil) then
    headers:replace(":status", "401")
    if is_json(response) then
      return nil
    end
    local body = response:body()
    return (body and body:getBytes(0, body:length()) or "") .. ADVICE
  end
  if headers:get("grpc-status") == "16" and not headers:get("grpc-status-details-bin") then
    return (headers:get("grpc-message") or "") .. ADVICE
  end
end

-- Gives Envoy's own refusals the details of the services' errors. Those in JSON without a valid token have them already.
function envoy_on_response(response)
  local denied = denial(response)
  if denied and is_json(response) then
    response:headers():replace(":status", "403")
    response:body():setBytes(denied.json)
    return
  end
  local message = denied and denied.message or refusal_message(response)
  if not message then
    return
  end
  local headers, status = response:headers(), denied and denied.status or ERROR_INFO
  headers:replace("grpc-status", tostring(string.byte(status, 2)))
  headers:replace("grpc-message", message)
  local details = string.sub(status, 1, 2) .. text_field(18, message) .. string.sub(status, 3)
  headers:replace("grpc-status-details-bin", response:base64Escape(details))
end
