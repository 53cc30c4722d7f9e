"""A suite of invalid requests for each RPC of a service: one for each field and each way in which it is invalid.

    class TestBadFields(BadFieldSuite):
        service = OrdersService

Its module has the fixture `grpc_servable`, as for any test that calls a server by pytest-grpc's fixtures. A contract
that passes has bounds for all fields of its requests, and its server names the field that is invalid and never fails.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from graphmesh_contracts import Method

from graphmesh_chassis.errors import GraphmeshError, MalformedMessage
from graphmesh_chassis.metadata import IDEMPOTENCY_KEY
from graphmesh_chassis.status import from_rpc_error

LONG = 10_000_000
"""Characters or bytes of a value that is too long."""
MANY = 20_000
"""Elements or pairs of a field that has too many."""
MAX_DEPTH = 3
"""Levels of nested messages whose fields are tested."""
NOT_UTF8 = b"\xff\xfe"
UNKNOWN_NUMBER = 2**31 - 1
"""A number that no enum defines."""
CALLER_ERRORS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
"""The codes of refusals of an empty request."""


@dataclass(frozen=True)
class BadRequest:
    """An invalid request."""

    name: str
    payload: bytes
    field: str
    """The path that the violation must name, up to an index or key; empty for bytes that are not a message."""

    def is_named_by(self, error: GraphmeshError | None) -> bool:
        """Whether the error blames the caller, and names the field."""
        if not self.field:
            return isinstance(error, MalformedMessage)
        if error is None or error.code is not grpc.StatusCode.INVALID_ARGUMENT:
            return False
        named = [violation.field for violation in error.violations]
        return any(path == self.field or path.startswith((f"{self.field}[", f"{self.field}.")) for path in named)


def rpcs_of(service: Any) -> list[Method[Any, Any]]:
    """Return the RPCs of a generated class of handles, such as `OrdersService`."""
    return [member for member in vars(service).values() if isinstance(member, Method)]


def bad_requests(rpc: Method[Any, Any], valid: Message | None = None) -> Iterator[BadRequest]:
    """Generate all invalid requests to an RPC.

    Args:
        valid: fields that the service needs before it checks the others.
    """
    start = valid.SerializeToString() if valid else b""
    yield BadRequest("not a message", start + b"\x0f\xff\xff", "")
    for case in _bad_fields(rpc.request, rpc.request.DESCRIPTOR, lambda root: root, "", 0):
        yield replace(case, payload=start + case.payload)


class BadFieldSuite:
    """Tests of all RPCs of one service whose requests are not streamed. Subclass it as `Test…`."""

    service: ClassVar[Any]
    """The generated class of handles."""
    headers: ClassVar[tuple[tuple[str, str], ...]] = ((IDEMPOTENCY_KEY, "bad-field"),)
    timeout: ClassVar[float] = 20
    """Seconds of each call."""

    def valid(self, rpc: Method[Any, Any]) -> Message | None:
        """Return the fields that the service needs before it checks the others."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("rpc", rpcs_of(self.service), ids=lambda rpc: rpc.tool)

    def test_every_invalid_field_is_named(self, grpc_channel: grpc.Channel, rpc: Method[Any, Any]) -> None:
        """A field that is too long, out of range, unknown or not UTF-8: INVALID_ARGUMENT with the name of the field."""
        for case in bad_requests(rpc, self.valid(rpc)):
            error = self._send(grpc_channel, rpc, case.payload)
            assert case.is_named_by(error), f"{case.name}: {error!r}"

    def test_an_empty_request_succeeds_or_is_refused(self, grpc_channel: grpc.Channel, rpc: Method[Any, Any]) -> None:
        error = self._send(grpc_channel, rpc, b"")
        assert error is None or error.code in CALLER_ERRORS

    def _send(self, channel: grpc.Channel, rpc: Method[Any, Any], payload: bytes) -> GraphmeshError | None:
        """Send the bytes as a request, and return its error; None where it succeeds."""
        make: Any = channel.unary_stream if rpc.descriptor.server_streaming else channel.unary_unary
        try:
            response = make(rpc.path, None, rpc.response.FromString)(
                payload, timeout=self.timeout, metadata=self.headers
            )
            if rpc.descriptor.server_streaming:
                next(iter(response), None)
                response.cancel()
        except grpc.RpcError as error:
            return from_rpc_error(error, rpc.tool)  # type: ignore[arg-type]  # it has the methods of AioRpcError
        return None


def _bad_fields(
    root: type[Message], descriptor: Descriptor, reach: Callable[[Message], Any], prefix: str, depth: int
) -> Iterator[BadRequest]:
    """Generate requests of type `root` with an invalid field in the `descriptor` message that `reach` returns."""
    for field in descriptor.fields:
        path = f"{prefix}{field.name}"
        # Violations name "issue_time", not "issue_time.nanos": a time is one value to callers.
        named = prefix.removesuffix(".") if descriptor.file.package == "google.protobuf" else path
        for name, bad in _bad_values(field):
            request = root()
            _set(reach(request), field, bad)
            yield BadRequest(f"{path} {name}", request.SerializeToString(), named)
        if _is_string(field):
            request = root()
            _set(reach(request), field, "\x01\x01")
            not_utf8 = request.SerializeToString().replace(b"\x01\x01", NOT_UTF8)
            yield BadRequest(f"{path} that is not UTF-8", not_utf8, "")
        if field.message_type and not _map_entry(field) and depth < MAX_DEPTH:
            inner_prefix = f"{path}[0]." if field.is_repeated else f"{path}."
            yield from _bad_fields(root, field.message_type, _reach_inner(reach, field), inner_prefix, depth + 1)


def _reach_inner(reach: Callable[[Message], Any], field: FieldDescriptor) -> Callable[[Message], Any]:
    def reach_inner(root: Message) -> Any:
        inner = getattr(reach(root), field.name)
        if field.is_repeated:
            return inner.add() if not inner else inner[0]
        inner.SetInParent()
        return inner

    return reach_inner


def _set(message: Any, field: FieldDescriptor, value: Any) -> None:
    if _map_entry(field):
        for key, element in value.items():
            _set_pair(getattr(message, field.name), key, element)
    elif field.is_repeated:
        values = value if isinstance(value, list) else [value]
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, value)


def _set_pair(pairs: Any, key: Any, value: Any) -> None:
    if value is None:
        pairs.get_or_create(key)
    else:
        pairs[key] = value


def _bad_values(field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    """Generate values of the field that every contract must refuse, with their descriptions."""
    if entry := _map_entry(field):
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        small = _small_value(value)
        if key.type == FieldDescriptor.TYPE_STRING:
            yield "with too many pairs", {f"k{number}": small for number in range(MANY)}
            yield "with a long key", {"k" * LONG: small}
        if value.message_type is None:
            yield from ((f"with a value {name}", {"k": bad}) for name, bad in _bad_scalars(value))
        return
    if field.is_repeated:
        element = GetMessageClass(field.message_type)() if field.message_type else _small_value(field)
        yield "with too many elements", [element] * MANY
    if field.message_type is None:
        yield from _bad_scalars(field)


def _bad_scalars(field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            yield "too long", "x" * LONG if _is_string(field) else b"x" * LONG
        case FieldDescriptor.CPPTYPE_ENUM:
            yield "of an unknown number", UNKNOWN_NUMBER
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            yield "not a number", math.nan
            yield "infinite", math.inf
        case FieldDescriptor.CPPTYPE_INT32:
            yield "too small", -(2**31)
            yield "too large", 2**31 - 1
        case FieldDescriptor.CPPTYPE_INT64:
            yield "too small", -(2**63)
            yield "too large", 2**63 - 1
        case FieldDescriptor.CPPTYPE_UINT32:
            yield "too large", 2**32 - 1
        case FieldDescriptor.CPPTYPE_UINT64:
            yield "too large", 2**64 - 1


def _small_value(field: FieldDescriptor) -> Any:
    """Return a value whose size no contract refuses; None for a message."""
    if field.message_type:
        return None
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "a" if _is_string(field) else b"a"
    return 1


def _is_string(field: FieldDescriptor) -> bool:
    """Whether the field is text; `bytes` has the same C++ type."""
    return field.type == FieldDescriptor.TYPE_STRING


def _map_entry(field: FieldDescriptor) -> Descriptor | None:
    """Return the type of a map's pairs; None for a field that is not a map."""
    entry = field.message_type
    return entry if entry and entry.GetOptions().map_entry else None
