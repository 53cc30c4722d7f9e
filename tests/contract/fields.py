"""Bad requests for any RPC, made from its descriptor: each field too long, out of range, of no known value, not text.

    for case in bad_requests(BillingService.Charge):
        refusal = await sent(channel, BillingService.Charge, case.payload)
        assert case.is_named_by(refusal)

Works over any channel: to a server in this process, or through Envoy.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from graphmesh_chassis.errors import GraphmeshError, MalformedMessage
from graphmesh_chassis.status import from_rpc_error
from graphmesh_contracts import Rpc

LONG = 10_000_000
MANY = 20_000
DEPTH = 3
"""How deep messages within messages are gone into."""
NOT_UTF8 = b"\xff\xfe"
NO_MEMBER = 2**31 - 1
"""A number that no enum has."""


@dataclass(frozen=True)
class BadRequest:
    """One bad request."""

    name: str
    payload: bytes
    field: str
    """The path that the refusal has to name, up to an index or key; empty where the bytes are no message at all."""

    def is_named_by(self, refusal: GraphmeshError | None) -> bool:
        """Whether the caller is told what is wrong, and that it is at fault."""
        if not self.field:
            return isinstance(refusal, MalformedMessage)
        if refusal is None or refusal.code is not grpc.StatusCode.INVALID_ARGUMENT:
            return False
        named = [violation.field for violation in refusal.violations]
        return any(path == self.field or path.startswith((f"{self.field}[", f"{self.field}.")) for path in named)


def bad_requests(rpc: Rpc[Any, Any]) -> Iterator[BadRequest]:
    """Every bad request that the fields of the RPC's request allow."""
    yield BadRequest("bytes that are no message", b"\x0f\xff\xff", "")
    yield from _of_message(rpc.request, rpc.request.DESCRIPTOR, lambda root: root, "", 0)


async def sent(
    channel: grpc.aio.Channel, rpc: Rpc[Any, Any], payload: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> GraphmeshError | None:
    """Send the bytes, and return how they were refused; None where they were not."""
    streams = rpc.descriptor.server_streaming
    make: Any = channel.unary_stream if streams else channel.unary_unary
    call = make(rpc.path, None, rpc.response.FromString)(payload, timeout=20, metadata=headers)
    try:
        if streams:
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error, rpc.tool)
    finally:
        call.cancel()
    return None


def _of_message(
    root: type[Message], descriptor: Descriptor, reach: Callable[[Message], Any], prefix: str, depth: int
) -> Iterator[BadRequest]:
    for field in descriptor.fields:
        path = f"{prefix}{field.name}"
        # Nobody says "issue_time.nanos": a time is one value to people.
        named = prefix.removesuffix(".") if descriptor.file.package == "google.protobuf" else path
        for name, bad in _bad_values(field):
            request = root()
            _put(reach(request), field, bad)
            yield BadRequest(f"{path} {name}", request.SerializeToString(), named)
        if _is_text(field):
            request = root()
            _put(reach(request), field, "\x01\x01")
            broken = request.SerializeToString().replace(b"\x01\x01", NOT_UTF8)
            yield BadRequest(f"{path} that is not UTF-8", broken, "")
        if field.message_type and not _entry(field) and depth < DEPTH:
            inside = f"{path}[0]." if field.is_repeated else f"{path}."
            yield from _of_message(root, field.message_type, _within(reach, field), inside, depth + 1)


def _within(reach: Callable[[Message], Any], field: FieldDescriptor) -> Callable[[Message], Any]:
    def deeper(root: Message) -> Any:
        container = getattr(reach(root), field.name)
        if field.is_repeated:
            return container.add() if not container else container[0]
        container.SetInParent()
        return container

    return deeper


def _put(message: Any, field: FieldDescriptor, value: Any) -> None:
    if _entry(field):
        for key, element in value.items():
            _put_pair(getattr(message, field.name), key, element)
    elif field.is_repeated:
        values = value if isinstance(value, list) else [value]
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, value)


def _put_pair(pairs: Any, key: Any, element: Any) -> None:
    if element is None:
        pairs.get_or_create(key)
    else:
        pairs[key] = element


def _bad_values(field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    """What no contract should let through, by name."""
    if entry := _entry(field):
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        small = _small(value)
        if key.type == FieldDescriptor.TYPE_STRING:
            yield "with too many pairs", {f"k{number}": small for number in range(MANY)}
            yield "with a long key", {"k" * LONG: small}
        if value.message_type is None:
            yield from ((f"with a value {name}", {"k": bad}) for name, bad in _bad_scalars(value))
        return
    if field.is_repeated:
        element = GetMessageClass(field.message_type)() if field.message_type else _small(field)
        yield "with too many elements", [element] * MANY
    if field.message_type is None:
        yield from _bad_scalars(field)


def _bad_scalars(field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            yield "too long", "x" * LONG if _is_text(field) else b"x" * LONG
        case FieldDescriptor.CPPTYPE_ENUM:
            yield "of no known value", NO_MEMBER
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            yield "not a number", math.nan
            yield "infinite", math.inf
        case FieldDescriptor.CPPTYPE_INT32:
            yield "far below zero", -(2**31)
            yield "too large", 2**31 - 1
        case FieldDescriptor.CPPTYPE_INT64:
            yield "far below zero", -(2**63)
            yield "too large", 2**63 - 1
        case FieldDescriptor.CPPTYPE_UINT32:
            yield "too large", 2**32 - 1
        case FieldDescriptor.CPPTYPE_UINT64:
            yield "too large", 2**64 - 1


def _small(field: FieldDescriptor) -> Any:
    """A harmless value, None for a message."""
    if field.message_type:
        return None
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "a" if _is_text(field) else b"a"
    return 1


def _is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING


def _entry(field: FieldDescriptor) -> Descriptor | None:
    """The key and value of a map; None where the field is none."""
    entry = field.message_type
    return entry if entry and entry.GetOptions().map_entry else None
