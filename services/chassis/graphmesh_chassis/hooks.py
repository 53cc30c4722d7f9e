"""Hooks around every call, and their order.

A hook is an async context manager over a `Call`. `hooks_of` has the order, with the reason of each position.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog
from google.protobuf.message import DecodeError, Message
from graphmesh_contracts import Idempotency

from graphmesh_chassis import metadata, names
from graphmesh_chassis.admission import Admission
from graphmesh_chassis.calls import Call, set_current
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.effects import Replay
from graphmesh_chassis.epoch import Epoch, lease_of
from graphmesh_chassis.errors import (
    ApprovalRequired,
    DeadlineExceeded,
    Defect,
    DependencyError,
    GraphmeshError,
    Internal,
    MalformedMessage,
)
from graphmesh_chassis.identity import Caller, IdentityMode
from graphmesh_chassis.large_values import CURRENT_TENANT, convert_aside
from graphmesh_chassis.status import to_grpc
from graphmesh_chassis.validation import check_request, check_response
from graphmesh_chassis.wire_bounds import check_wire_bounds, has_json

Hook = Callable[[Call], AbstractAsyncContextManager[None]]

log = structlog.get_logger("graphmesh.calls")

INLINE_BYTES = 16 * 1024
"""Bytes of JSON that are decoded on the event loop: at most 8,000 elements, which take some milliseconds."""


def hooks_of(mode: IdentityMode, admission: Admission) -> tuple[Hook, ...]:
    """The hooks of a service, outermost first."""
    return (
        telemetry,  # first: it records the outcome of everything else
        errors,  # next: every exception below becomes a status, never a stack trace
        identity(mode),  # before any work is done for the caller
        approval,  # likewise: a caller with the scopes may need an approval too
        deadline,  # before anything that may wait
        contract,  # before a slot is taken: a bad request delays no other call
        admitted(admission),  # the last check: only calls that may run hold a slot
        effects,  # innermost: a stored response passes all checks like a new one
    )


@asynccontextmanager
async def telemetry(call: Call) -> AsyncIterator[None]:
    """Log one line a call, without the contents of messages."""
    began = time.monotonic()
    code, reason = "OK", ""
    try:
        yield
    except BaseException:
        code, reason = call.refusal or ("CANCELLED", "CANCELLED")
        raise
    finally:
        fields = {
            names.METHOD: call.path,
            names.CODE: code,
            names.REASON: reason,
            names.DURATION_MS: round((time.monotonic() - began) * 1000, 2),
            names.TENANT: call.caller.tenant,
            names.RUN: call.header(metadata.RUN),
            names.THREAD: call.header(metadata.THREAD),
            names.NODE: call.header(metadata.NODE),
            names.APPROVAL: call.header(metadata.APPROVAL),
        }
        log.info("call", **{name: value for name, value in fields.items() if value != ""})


@asynccontextmanager
async def errors(call: Call) -> AsyncIterator[None]:
    """Abort the call with the status of an exception. Causes are logged and never sent."""
    try:
        yield
    except GraphmeshError as error:
        if isinstance(error, Defect):
            log.error("defect", method=call.path, exc_info=error)
        elif isinstance(error, DependencyError) and error.__cause__ is not None:
            log.warning("dependency", method=call.path, cause=str(error.__cause__).partition("\n")[0])
        await _abort(call, error)
    except Exception as error:
        log.error("defect", method=call.path, exc_info=error)
        await _abort(call, Internal(method=call.path))


async def _abort(call: Call, error: GraphmeshError) -> None:
    call.refusal = (error.code.name, error.reason)
    await call.context.abort_with_status(to_grpc(error))


def identity(mode: IdentityMode) -> Hook:
    """A hook that reads the caller's identity and checks that it has the scopes of the method's policy."""

    @asynccontextmanager
    async def identity(call: Call) -> AsyncIterator[None]:
        call.caller = Caller.of(call.headers, mode)
        CURRENT_TENANT.set(call.caller.tenant)
        call.caller.require(call.policy.scopes)
        yield

    return identity


@asynccontextmanager
async def approval(call: Call) -> AsyncIterator[None]:
    """Require the header of an approval where the policy does.

    The orchestrator has checked that the approval is one of this call. Clients cannot send the header: Envoy's edge
    listener removes it.
    """
    if call.policy.needs_approval and not call.header(metadata.APPROVAL):
        raise ApprovalRequired(method=call.path)
    yield


@asynccontextmanager
async def deadline(call: Call) -> AsyncIterator[None]:
    """End the call at the earlier of the caller's deadline and the policy's timeout; the lease counts from here too."""
    remaining: float | None = call.context.time_remaining()
    call.deadline = Deadline.after(call.policy.timeout if remaining is None else min(remaining, call.policy.timeout))
    call.lease = lease_of(call.headers)
    set_current(call)
    timeout = call.deadline.timeout()
    try:
        async with timeout:
            yield
    except TimeoutError as error:
        if timeout.expired():
            raise DeadlineExceeded(method=call.path) from error
        raise


@asynccontextmanager
async def contract(call: Call) -> AsyncIterator[None]:
    """Decode and validate the request, and validate the response. Streamed messages are validated one by one."""
    if call.payload is not None:
        call.request = await _decode_aside(call.payload, call)
    yield
    if call.response is not None and not call.response_checked:
        check_response(call.response, call.path)


async def _decode_aside(payload: bytes, call: Call) -> Message:
    """As `decode`; large JSON is decoded in a thread, so that no other call waits for it."""
    is_large = len(payload) > INLINE_BYTES and has_json(call.method.input_type)
    return await convert_aside(is_large, decode, payload, call)


def decode(payload: bytes, call: Call) -> Message:
    """The request in `payload`.

    Raises:
        MalformedMessage: it cannot be parsed.
        InvalidRequest: it violates the rules of its proto, or the bounds of its JSON.
    """
    try:
        check_wire_bounds(payload, call.method.input_type, call.path)
        request: Message = call.request_type.FromString(payload)
    except DecodeError as error:
        raise MalformedMessage(type=call.method.input_type.full_name) from error
    check_request(request, call.path)
    return request


def admitted(admission: Admission) -> Hook:
    """A hook that holds one of the service's slots, after a bounded wait for it, or a place of the calls that wait."""

    def admitted(call: Call) -> AbstractAsyncContextManager[None]:
        if call.policy.waits and admission.waits.max_waits:
            call.parts = admission
            return admission.wait(call.caller.tenant)
        return admission.slot(call.deadline, call.caller.tenant)

    return admitted


@asynccontextmanager
async def effects(call: Call) -> AsyncIterator[None]:
    """Require an idempotency key of every effect, and respond to a repeat with the stored response."""
    if call.policy.idempotency is not Idempotency.EFFECT:
        yield
        return
    call.effect_key, call.epoch = EffectKey.of(call.headers), Epoch.of(call.headers)
    try:
        yield
    except Replay as replay:
        call.context.set_trailing_metadata(((metadata.REPLAYED, "true"),))
        call.response, call.response_checked = call.response_type.FromString(replay.response), True
