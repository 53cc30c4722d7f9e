"""What happens around every call, and in which order.

A hook is an async context manager over a `Call`. The order is data, with its reasons, in `hooks_of`.
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
from graphmesh_chassis.epoch import Epoch
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
from graphmesh_chassis.status import to_grpc
from graphmesh_chassis.validation import check_request, check_response

Hook = Callable[[Call], AbstractAsyncContextManager[None]]

log = structlog.get_logger("graphmesh.calls")


def hooks_of(mode: IdentityMode, admission: Admission) -> tuple[Hook, ...]:
    """The hooks of a service, the outermost first."""
    return (
        telemetry,  # first: it has to see how everything else ended
        errors,  # next: whatever is raised below becomes a status, never a stack trace
        identity(mode),  # before any work is done for the caller (A1)
        approval,  # the same: who may call may need a person's consent too (B8)
        deadline,  # before anything that may wait
        contract,  # before a place is taken: a bad request costs nobody a turn
        admitted(admission),  # the last gate: only what may run holds a place
        effects,  # innermost: a repeat's stored response passes all gates like a new one
    )


@asynccontextmanager
async def telemetry(call: Call) -> AsyncIterator[None]:
    """One log line a call. Never contents of messages (H5)."""
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
    """Turn what is raised into a status. Causes are logged here and never sent."""
    try:
        yield
    except GraphmeshError as error:
        if isinstance(error, Defect):
            log.error("defect", method=call.path, exc_info=error)
        elif isinstance(error, DependencyError) and error.__cause__ is not None:
            log.warning("dependency", method=call.path, cause=str(error.__cause__).partition("\n")[0])
        await _refuse(call, error)
    except Exception as error:
        log.error("defect", method=call.path, exc_info=error)
        await _refuse(call, Internal(method=call.path))


async def _refuse(call: Call, error: GraphmeshError) -> None:
    call.refusal = (error.code.name, error.reason)
    await call.context.abort_with_status(to_grpc(error))


def identity(mode: IdentityMode) -> Hook:
    """Read who calls, and hold the caller against the scopes that the method's policy asks for."""

    @asynccontextmanager
    async def identity(call: Call) -> AsyncIterator[None]:
        call.caller = Caller.of(call.headers, mode)
        call.caller.require(call.policy.scopes)
        yield

    return identity


@asynccontextmanager
async def approval(call: Call) -> AsyncIterator[None]:
    """Demand an approval of what a person has to agree to. That it is one for this call, the orchestrator has checked:
    clients cannot send the header, Envoy's edge takes it off."""
    if call.policy.needs_approval and not call.header(metadata.APPROVAL):
        raise ApprovalRequired(method=call.path)
    yield


@asynccontextmanager
async def deadline(call: Call) -> AsyncIterator[None]:
    """End the call at the earlier of the caller's deadline and the policy's timeout (D7)."""
    remaining: float | None = call.context.time_remaining()
    call.deadline = Deadline.after(call.policy.timeout if remaining is None else min(remaining, call.policy.timeout))
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
    """Decode and check the request; check the response (A3, H2). Streamed messages are checked as they pass."""
    if call.payload is not None:
        call.request = decode(call.payload, call)
    yield
    if call.response is not None and not call.response_checked:
        check_response(call.response, call.path)


def decode(payload: bytes, call: Call) -> Message:
    """The request in `payload`.

    Raises:
        MalformedMessage: it is none.
        InvalidRequest: it breaks rules of its proto.
    """
    try:
        request: Message = call.request_type.FromString(payload)
    except DecodeError as error:
        raise MalformedMessage(type=call.method.input_type.full_name) from error
    check_request(request, call.path)
    return request


def admitted(admission: Admission) -> Hook:
    """Hold one of the service's places, waiting for it within bounds (D3)."""

    def admitted(call: Call) -> AbstractAsyncContextManager[None]:
        return admission.slot(call.deadline)

    return admitted


@asynccontextmanager
async def effects(call: Call) -> AsyncIterator[None]:
    """Demand a key of every effect, and answer a repeat with what is stored (E1, E2)."""
    if call.policy.idempotency is not Idempotency.EFFECT:
        yield
        return
    call.effect_key, call.epoch = EffectKey.of(call.headers), Epoch.of(call.headers)
    try:
        yield
    except Replay as replay:
        call.context.set_trailing_metadata(((metadata.REPLAYED, "true"),))
        call.response, call.response_checked = call.response_type.FromString(replay.response), True
