"""A mesh of twins: functions of a test in place of services, under the rules of services."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from google.protobuf.message import Message
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Headers
from graphmesh_chassis.customers import require_customer
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import (
    ApprovalRequired,
    CallerError,
    ConnectionLost,
    DeadlineExceeded,
    GraphmeshError,
)
from graphmesh_chassis.hooks import require_approved
from graphmesh_chassis.identity import Caller
from graphmesh_chassis.status import from_status, to_status
from graphmesh_chassis.validation import check_request, violations
from graphmesh_contracts import Idempotency, Method, Rpc, StreamingRpc

from graphmesh_nodes.context import Policies
from graphmesh_nodes.testing.effect_store import EffectStore
from graphmesh_nodes.testing.errors import HarnessError

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

Handler = Callable[[RequestT], ResponseT | Awaitable[ResponseT] | Iterable[ResponseT] | AsyncIterable[ResponseT]]
"""The twin of one RPC: returns the response, or the responses of a stream, or raises a GraphmeshError."""


@dataclass
class RecordedCall(Generic[RequestT, ResponseT]):
    """One attempt of a call. Retries are calls of their own."""

    rpc: Method[RequestT, ResponseT]
    request: RequestT
    headers: metadata.Metadata
    executed: bool = False
    """Whether the twin has executed it: not where it failed before, or its effect key has an outcome already."""
    response: ResponseT | None = None
    """The response that the graph received."""
    error: GraphmeshError | None = None
    """The error that the graph received."""

    @property
    def node(self) -> str:
        return metadata.text(self.headers, metadata.NODE)

    @property
    def effect_key(self) -> str:
        """Empty for reads."""
        return metadata.text(self.headers, metadata.IDEMPOTENCY_KEY)

    @property
    def approval_id(self) -> str:
        """Empty for calls without an approval."""
        return metadata.text(self.headers, metadata.APPROVAL)

    @property
    def customer(self) -> str:
        """The customer that the call is bound to; empty where it is bound to none."""
        return metadata.text(self.headers, metadata.CUSTOMER)


@dataclass
class Fault:
    """A forced failure of an RPC."""

    error: GraphmeshError
    remaining: int | None
    """Calls that it still affects; None: all."""
    after_execution: bool

    def use(self) -> None:
        if self.remaining is not None:
            self.remaining -= 1


class TwinMesh:
    """A `MeshChannel` that calls twins.

    As services do, it checks requests against their contracts and callers against the policy, refuses effects without a
    key, and answers a repeated key with the stored outcome.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._handlers: dict[str, Handler[Any, Any]] = {}
        self._faults: dict[str, list[Fault]] = {}
        self._effects = EffectStore()
        self.calls: list[RecordedCall[Any, Any]] = []
        self.errors: list[HarnessError] = []
        """Raised again by the harness, in case that a node has caught them."""
        self.is_cut_off = False
        """Whether the calling process is dead, so that none of its calls arrives."""
        self.calls_until_crash: dict[str, int] = {}
        """By path, the number of the call after whose execution the calling process dies."""
        self.on_crash: Callable[[], None] = lambda: None

    def serve(self, rpc: Method[Any, Any], handler: Handler[Any, Any]) -> None:
        self._handlers[rpc.path] = handler

    def fail(self, rpc: Method[Any, Any], fault: Fault) -> None:
        self._faults.setdefault(rpc.path, []).append(fault)

    def heal(self, rpc: Method[Any, Any]) -> None:
        self._faults.pop(rpc.path, None)

    async def unary(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline, headers: Headers = ()
    ) -> ResponseT:
        responses = [response async for response in self._call(rpc, request, deadline, headers)]
        if len(responses) != 1:
            raise self._wrong(f"the twin of {rpc.tool} returned {len(responses)} responses, not one")
        return responses[0]

    async def stream(
        self,
        rpc: StreamingRpc[RequestT, ResponseT],
        request: RequestT,
        *,
        deadline: Deadline | None,
        headers: Headers = (),
    ) -> AsyncGenerator[ResponseT, None]:
        async with aclosing(self._call(rpc, request, deadline, headers)) as responses:
            async for response in responses:
                yield response

    async def _call(
        self, rpc: Method[RequestT, ResponseT], request: RequestT, deadline: Deadline | None, headers: Headers
    ) -> AsyncGenerator[ResponseT, None]:
        await self._require_alive()
        call = RecordedCall(rpc, _copy(request), metadata.as_mapping(headers))
        self.calls.append(call)
        try:
            _require_time(rpc, deadline, sent=False)
            self._raise_fault(rpc, after_execution=False)
            async for response in self._answer(call):
                self._crash_if_due(rpc)
                await self._require_alive()
                _require_time(rpc, deadline, sent=True)
                self._raise_fault(rpc, after_execution=True)
                call.response = response
                yield response
        except GraphmeshError as error:
            call.response, call.error = None, _received(error)
            raise call.error from error

    async def _answer(self, call: RecordedCall[RequestT, ResponseT]) -> AsyncIterator[ResponseT]:
        """Do what the service does, from its hooks to the stored outcome."""
        rpc, request, headers = call.rpc, call.request, call.headers
        policy = self._policies.of(rpc)
        caller = Caller.of(headers, "required")
        caller.require(policy.scopes)
        if policy.needs_approval and not call.approval_id:
            raise ApprovalRequired(method=rpc.path)
        check_request(request, rpc.path)
        if call.approval_id:
            require_approved(headers, rpc, request)
        if caller.customer:
            require_customer(caller.customer, policy.customer, request, rpc.path)
        if policy.idempotency is not Idempotency.EFFECT:
            async for response in self._responses(call):
                yield response
            return
        outcome: Message | CallerError | None = self._effects.find(rpc, request, headers)
        if outcome is None:
            outcome = await self._execute_effect(call)
        if isinstance(outcome, CallerError):
            raise outcome
        yield cast(ResponseT, _copy(outcome))

    async def _execute_effect(self, call: RecordedCall[RequestT, ResponseT]) -> Message | CallerError:
        """Carry the effect out and store its outcome; other errors than refusals leave no outcome."""
        outcome: Message | CallerError
        try:
            [outcome] = [response async for response in self._responses(call)]
        except CallerError as error:
            outcome = error
        self._effects.store(call.rpc, call.request, call.headers, outcome)
        return outcome

    async def _responses(self, call: RecordedCall[RequestT, ResponseT]) -> AsyncIterator[ResponseT]:
        rpc, handler = call.rpc, self._handlers.get(call.rpc.path)
        if handler is None:
            raise self._wrong(_not_served(rpc))
        result: Any = handler(_copy(call.request))
        async for response in _iterate(await result if inspect.isawaitable(result) else result):
            if not isinstance(response, rpc.response):
                raise self._wrong(f"the twin of {rpc.tool} returned {response!r}, not a {rpc.response.__name__}")
            if broken := violations(response):
                fields = "; ".join(f"{violation.field}: {violation.description}" for violation in broken)
                raise self._wrong(f"the twin of {rpc.tool} returned a response that breaks its contract: {fields}")
            call.executed = True
            yield response

    def _raise_fault(self, rpc: Method[Any, Any], *, after_execution: bool) -> None:
        for fault in self._faults.get(rpc.path, []):
            if fault.after_execution is after_execution and fault.remaining != 0:
                fault.use()
                raise fault.error

    def _crash_if_due(self, rpc: Method[Any, Any]) -> None:
        remaining = self.calls_until_crash.pop(rpc.path, 0) - 1
        if remaining > 0:
            self.calls_until_crash[rpc.path] = remaining
        elif remaining == 0:
            self.on_crash()

    async def _require_alive(self) -> None:
        """Never return in a dead process; the harness cancels it."""
        if self.is_cut_off:
            await asyncio.Event().wait()

    def _wrong(self, message: str) -> HarnessError:
        error = HarnessError(message)
        self.errors.append(error)
        return error


def _copy(message: RequestT) -> RequestT:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _require_time(rpc: Method[Any, Any], deadline: Deadline | None, *, sent: bool) -> None:
    if deadline is not None and deadline.remaining <= 0:
        error = DeadlineExceeded(tool=rpc.tool)
        error.may_have_happened = sent
        raise error


def _received(error: GraphmeshError) -> GraphmeshError:
    """Return the error as it arrives over the wire: a new one for each call, since callers change them."""
    received = from_status(to_status(error))
    received.may_have_happened = error.may_have_happened
    return received


def lost_response(rpc: Method[Any, Any]) -> ConnectionLost:
    return ConnectionLost(f"{rpc.tool}: the connection broke after the call was sent", service=rpc.tool)


async def _iterate(result: Any) -> AsyncIterator[Any]:
    if isinstance(result, AsyncIterable):
        async for response in result:
            yield response
    elif isinstance(result, Iterable):
        for response in result:
            yield response
    else:
        yield result


def _not_served(rpc: Method[Any, Any]) -> str:
    service = rpc.service.rpartition(".")[2]
    return (
        f"the graph called {rpc.tool}, which has no twin; serve it with "
        f"harness.serve({service}.{rpc.method}, lambda request: {rpc.response.__name__}(...))"
    )
