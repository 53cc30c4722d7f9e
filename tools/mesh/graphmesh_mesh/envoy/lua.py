"""Values and filters of Lua in Envoy's configuration."""

import string
from collections.abc import Mapping

from graphmesh_mesh.envoy.documents import LUA, Document, extension

LUA_FILTER = "envoy.extensions.filters.http.lua.v3.Lua"
PLAIN = b" _-.:/," + string.ascii_letters.encode()


def lua_filter(source: str) -> Document:
    return extension(LUA, LUA_FILTER, default_source_code={"inline_string": source})


def constants(values: Mapping[str, object]) -> str:
    """Return the definitions of constants, a line each."""
    return "\n".join(f"local {name} = {literal(value)}" for name, value in values.items())


def literal(value: object) -> str:
    """Return a value as a literal of Lua."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'[{literal(key)}] = {literal(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"{{{', '.join(map(literal, value))}}}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    encoded = value if isinstance(value, bytes) else str(value).encode()
    return '"' + "".join(chr(byte) if byte in PLAIN else f"\\{byte:03d}" for byte in encoded) + '"'
