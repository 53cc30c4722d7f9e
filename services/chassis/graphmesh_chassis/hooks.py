"""Hooks around every call, and their order.

A hook is a coroutine function that is called with what is inside of it and the call, and awaits `proceed(call)` at most
once. `hooks_of` has the order, with the reason of each position.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from google.protobuf.message import DecodeError, Message
from graphmesh_contracts import Idempotency, Method

from graphmesh_chassis import metadata
from graphmesh_chassis.admission import Admission
from graphmesh_chassis.audit_refusals import Refusals
from graphmesh_chassis.calls import Call, fingerprint, set_current
from graphmesh_chassis.customers import require_customer
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.effects import Replay
from graphmesh_chassis.epoch import Epoch, lease_of
from graphmesh_chassis.errors import (
    ApprovalMismatch,
    ApprovalRequired,
    CallerError,
    DeadlineExceeded,
    Defect,
    DependencyError,
    GraphmeshError,
    Internal,
    MalformedMessage,
    OutcomeUnknown,
)
from graphmesh_chassis.identity import Caller, IdentityMode
from graphmesh_chassis.large_values import convert_aside
from graphmesh_chassis.server_metrics import CALLS, EFFECTS
from graphmesh_chassis.status import to_grpc
from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.sampling import is_traced, trace_id
from graphmesh_chassis.tenant_turns import work_for
from graphmesh_chassis.validation import check_request, check_response
from graphmesh_chassis.wire_bounds import check_wire_bounds, has_json

if TYPE_CHECKING:
    from graphmesh_chassis.call_tokens import CallVerifier
    from graphmesh_chassis.workload import Workload

Proceed = Callable[[Call], Awaitable[None]]
"""Executes the rest of a call: the hooks that are further inside, and the servicer's method."""
Hook = Callable[[Proceed, Call], Awaitable[None]]

log = structlog.get_logger("graphmesh.calls")

INLINE_BYTES = 16 * 1024
"""Bytes of JSON that are decoded on the event loop: at most 8,000 elements, which take some milliseconds."""


def hooks_of(
    mode: IdentityMode,
    admission: Admission,
    *,
    validate_responses: bool = False,
    call_tokens: "CallVerifier | None" = None,
    rated: Hook | None = None,
    refusals: Refusals | None = None,
    workload: "Workload | None" = None,
) -> Sequence[Hook]:
    """The hooks of a service, outermost first.

    With `call_tokens` every call needs one. With `workload` every call has to come from Envoy. `rated` is the hook of a
    service with rates. `refusals` takes those for the audit log.
    """
    return (
        telemetry,  # first: it records the outcome of everything else
        errors,  # next: every exception below becomes a status, never a stack trace
        refused(refusals),  # around every check that may refuse the call
        *([from_envoy(workload)] if workload else []),  # before anything that another workload states
        signed(call_tokens) if call_tokens else identity(mode),  # before any work is done for the caller
        approval,  # likewise: a caller with the scopes may need an approval too
        deadline,  # before anything that may wait
        *([rated] if rated else []),  # before the request costs any work
        contract(validate_responses),  # before a slot is taken: a bad request delays no other call
        approved,  # likewise, with the decoded request
        bound,  # likewise
        admitted(admission),  # the last check: only calls that may run hold a slot
        effects,  # innermost: a stored response passes all checks like a new one
    )


def inside(hooks: Sequence[Hook], respond: Proceed) -> Proceed:
    """`respond` with the hooks around it."""
    for hook in reversed(hooks):
        respond = partial(hook, respond)
    return respond


async def telemetry(proceed: Proceed, call: Call) -> None:
    """Log one line a call, without the contents of messages."""
    began = time.monotonic()
    code, reason = "OK", ""
    try:
        await proceed(call)
    except BaseException:
        code, reason = call.refusal or ("CANCELLED", "CANCELLED")
        raise
    finally:
        seconds = time.monotonic() - began
        CALLS.record(seconds, {names.METHOD: call.path[1:], names.REASON: reason})
        if log.is_enabled_for(logging.INFO):
            fields = {
                names.METHOD: call.path,
                names.CODE: code,
                names.REASON: reason,
                names.DURATION_MS: round(seconds * 1000, 2),
                names.TENANT: call.caller.tenant,
                names.RUN: call.header(metadata.RUN),
                names.THREAD: call.header(metadata.THREAD),
                names.NODE: call.header(metadata.NODE),
                names.APPROVAL: call.header(metadata.APPROVAL),
                names.TRACE_ID: trace_id(call.headers) if is_traced() else "",
            }
            log.info("call", **{name: value for name, value in fields.items() if value != ""})


async def errors(proceed: Proceed, call: Call) -> None:
    """Abort the call with the status of an exception. Causes are logged and never sent."""
    try:
        await proceed(call)
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


def refused(refusals: Refusals | None) -> Hook:
    """A hook that counts refused calls for the audit log."""

    async def refused(proceed: Proceed, call: Call) -> None:
        try:
            await proceed(call)
        except CallerError as error:
            if refusals is not None:
                refusals.add(call, error)
            raise

    return refused


def from_envoy(workload: "Workload") -> Hook:
    """A hook that accepts calls of Envoy only, which has checked the workload that they come from."""

    async def from_envoy(proceed: Proceed, call: Call) -> None:
        workload.require_caller(call.path, call.context)
        await proceed(call)

    return from_envoy


def identity(mode: IdentityMode) -> Hook:
    """A hook that reads the caller's identity and checks that it has the scopes of the method's policy."""

    async def identity(proceed: Proceed, call: Call) -> None:
        call.caller = Caller.of(call.headers, mode)
        work_for(call.caller.tenant)
        call.caller.require(call.policy.scopes)
        await proceed(call)

    return identity


def signed(tokens: "CallVerifier") -> Hook:
    """A hook like `identity(mode)` for headers that only the token of the call states, whatever else was sent."""
    required = identity("required")

    async def signed(proceed: Proceed, call: Call) -> None:
        token, call.headers = call.header(metadata.CALL_TOKEN), metadata.unsigned(call.headers)
        call.headers |= tokens.claims(call.path, token)
        await required(proceed, call)

    return signed


async def approval(proceed: Proceed, call: Call) -> None:
    """Require the header of an approval where the policy does. Clients cannot send it: Envoy's edge removes it."""
    if call.policy.needs_approval and not call.header(metadata.APPROVAL):
        raise ApprovalRequired(method=call.path)
    await proceed(call)


async def deadline(proceed: Proceed, call: Call) -> None:
    """End the call at the earlier of the caller's deadline and the policy's timeout; the lease counts from here too."""
    remaining: float | None = call.context.time_remaining()
    call.deadline = Deadline.after(call.policy.timeout if remaining is None else min(remaining, call.policy.timeout))
    call.lease = lease_of(call.headers)
    set_current(call)
    timeout = call.deadline.timeout()
    try:
        async with timeout:
            await proceed(call)
    except TimeoutError as error:
        if timeout.expired():
            raise DeadlineExceeded(method=call.path) from error
        raise


def contract(validate_responses: bool) -> Hook:
    """A hook that decodes and validates the request, and validates the response if that is wanted.

    Streamed messages are validated one by one. The response of an effect is always validated, before it is stored.
    """

    async def contract(proceed: Proceed, call: Call) -> None:
        call.validates_responses = validate_responses
        if isinstance(call.incoming, bytes):
            call.request = await _decode_aside(call.incoming, call)
        await proceed(call)
        if call.response is not None and call.validates_responses:
            check_response(call.response, call.path)

    return contract


async def _decode_aside(payload: bytes, call: Call) -> Message:
    """As `decode`; large JSON is decoded in a thread, so that no other call waits for it."""
    if len(payload) > INLINE_BYTES and has_json(call.method.input_type):
        return await convert_aside(True, decode, payload, call)
    return decode(payload, call)


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


async def approved(proceed: Proceed, call: Call) -> None:
    """Check that a call with an approval is the one that was approved, whatever has changed its request since."""
    if call.header(metadata.APPROVAL):
        require_approved(call.headers, Method(call.path, call.request_type, call.response_type), call.request)
    await proceed(call)


def require_approved(headers: metadata.Metadata, method: Method[Any, Any], request: Message | None) -> None:
    """Raises ApprovalMismatch where the approval in `headers` is of another request, or does not state of which."""
    if metadata.text(headers, metadata.APPROVAL_DIGEST) != fingerprint(method.path, request).hex():
        raise ApprovalMismatch(approval=metadata.text(headers, metadata.APPROVAL), tool=method.tool)


async def bound(proceed: Proceed, call: Call) -> None:
    """Check that the request of a call that is bound to a customer names no other one."""
    if call.caller.customer:
        require_customer(call.caller.customer, call.policy.customer, call.request, call.path)
    await proceed(call)


def admitted(admission: Admission) -> Hook:
    """A hook that holds one of the service's slots, after a bounded wait for it, or a place of the calls that wait."""

    async def admitted(proceed: Proceed, call: Call) -> None:
        if call.policy.waits and admission.waits.max_waits:
            call.parts = admission
            with admission.waits.place(call.caller.tenant):
                await proceed(call)
            return
        async with admission.slot(call.deadline, call.caller.tenant) as call.slot:
            await proceed(call)

    return admitted


async def effects(proceed: Proceed, call: Call) -> None:
    """Require an idempotency key of every effect, and respond to a repeat with the stored response."""
    if call.policy.idempotency is not Idempotency.EFFECT:
        await proceed(call)
        return
    call.effect_key, call.epoch = EffectKey.of(call.headers), Epoch.of(call.headers)
    try:
        await proceed(call)
    except OutcomeUnknown:
        EFFECTS.add(1, {names.METHOD: call.path[1:], names.END: "unknown"})
        raise
    except Replay as replay:
        EFFECTS.add(1, {names.METHOD: call.path[1:], names.END: "replayed"})
        call.context.set_trailing_metadata(((metadata.REPLAYED, "true"),))
        call.response, call.validates_responses = call.response_type.FromString(replay.response), False
    else:
        EFFECTS.add(1, {names.METHOD: call.path[1:], names.END: "claimed"})
