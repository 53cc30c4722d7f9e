"""Invalid requests to any RPC, generated from its descriptor: one for each field and each way in which it is invalid.

    for case in bad_requests(BillingService.Charge):
        error = await send(channel, BillingService.Charge, case.payload)
        assert case.is_named_by(error)

Works over any channel: to a server in this process, or through Envoy.
"""

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from graphmesh.orchestrator.v1 import (
    CreateRunRequest,
    CreateScheduleRequest,
    ExecuteRunRequest,
    PutItemRequest,
    RunService,
    ScheduleService,
    ScheduleSpec,
    StoreService,
    ThreadService,
    UpdateScheduleRequest,
    UpdateThreadStateRequest,
)
from graphmesh_chassis.errors import GraphmeshError, MalformedMessage
from graphmesh_chassis.status import from_rpc_error
from graphmesh_contracts import Method
from graphmesh_mesh.service import Service

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


def rpcs(service: Service) -> list[Method[Any, Any]]:
    """Return all RPCs of a service of mesh.yaml."""
    names = [name.rpartition(".") for name in (service.service, *service.beside)]
    handles = [getattr(importlib.import_module(package), name) for package, _, name in names]
    return [member for handle in handles for member in vars(handle).values() if isinstance(member, Method)]


def bad_requests(rpc: Method[Any, Any], graph: str = "", thread_id: str = "") -> Iterator[BadRequest]:
    """Generate all invalid requests to an RPC.

    Args:
        graph: an existing graph. A run's input has the rules of its graph, so a request without one would be refused
            for that. So would be the value of an item without a key.
        thread_id: an existing thread, for the same reason.
    """
    spec = ScheduleSpec(run=CreateRunRequest(graph=graph), cron="0 0 * * *")
    valid_fields = {
        RunService.CreateRun.path: CreateRunRequest(graph=graph),
        RunService.ExecuteRun.path: ExecuteRunRequest(run=CreateRunRequest(graph=graph)),
        ScheduleService.CreateSchedule.path: CreateScheduleRequest(spec=spec),
        ScheduleService.UpdateSchedule.path: UpdateScheduleRequest(schedule_id="s", spec=spec),
        ThreadService.UpdateThreadState.path: UpdateThreadStateRequest(thread_id=thread_id),
        StoreService.PutItem.path: PutItemRequest(namespace=["n"], key="k"),
    }
    valid = valid_fields[rpc.path].SerializeToString() if rpc.path in valid_fields else b""
    yield BadRequest("not a message", valid + b"\x0f\xff\xff", "")
    for case in _bad_fields(rpc.request, rpc.request.DESCRIPTOR, lambda root: root, "", 0):
        yield replace(case, payload=valid + case.payload)


async def send(
    channel: grpc.aio.Channel, rpc: Method[Any, Any], payload: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> GraphmeshError | None:
    """Send the bytes as a request, and return its error; None where it succeeds."""
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
