-- Refuses a call out of the mesh to an address that only a private network has, before a byte is sent.
--
-- It is a filter of the cluster: the address is the one that the call is about to use, whatever DNS answered before or
-- will answer after. The filter before it has set HEADER to it. REFUSED and ALLOWED are lists of networks, as the bits
-- of their prefixes; an IPv4 address is its IPv4-mapped IPv6 address. They are rendered above, as are HEADER, STATUS,
-- REFUSAL_HEADER and the text BODY with {address}.

local MAPPED = string.rep("0", 80) .. string.rep("1", 16)

local function bits(number, count)
  local text = ""
  for _ = 1, count do
    text = tostring(number % 2) .. text
    number = math.floor(number / 2)
  end
  return text
end

local function ipv4(text)
  local found = ""
  for part in string.gmatch(text, "%d+") do
    found = found .. bits(tonumber(part), 8)
  end
  return found
end

local function groups(text)
  local found = ""
  for part in string.gmatch(text, "[^:]+") do
    if string.find(part, ".", 1, true) then
      found = found .. ipv4(part)
    else
      found = found .. bits(tonumber(part, 16), 16)
    end
  end
  return found
end

-- The 128 bits of an address as Envoy prints it; nil where it is none.
local function address_bits(text)
  if string.match(text, "^%d+%.%d+%.%d+%.%d+$") then
    return MAPPED .. ipv4(text)
  end
  if not string.match(text, "^[%x:.]+$") then
    return nil
  end
  local head, tail = string.match(text, "^(.-)::(.*)$")
  if head == nil then
    return groups(text)
  end
  local first, last = groups(head), groups(tail)
  return first .. string.rep("0", 128 - #first - #last) .. last
end

local function is_in(networks, address)
  for _, prefix in ipairs(networks) do
    if string.sub(address, 1, #prefix) == prefix then
      return true
    end
  end
  return false
end

function envoy_on_request(handle)
  local target = handle:headers():get(HEADER) or ""
  handle:headers():remove(HEADER)
  local text = string.match(target, "^%[([%x:.]+)%]:%d+$") or string.match(target, "^([%d.]+):%d+$") or ""
  local address = address_bits(text)
  local is_known = address ~= nil and #address == 128
  if is_known and (is_in(ALLOWED, address) or not is_in(REFUSED, address)) then
    return
  end
  local headers = {[":status"] = STATUS, ["content-type"] = "application/json", [REFUSAL_HEADER] = "address"}
  handle:respond(headers, (string.gsub(BODY, "{address}", text)))
end
