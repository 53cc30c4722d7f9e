"""The call that a server processes, and the current call of a task."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from weakref import ref

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from graphmesh_contracts import MethodPolicy

from graphmesh_chassis import metadata
from graphmesh_chassis.admission import Admission, HeldSlot
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.identity import Caller


@dataclass(slots=True, weakref_slot=True)
class Call:
    """One call. Hooks fill it in, in their order."""

    method: MethodDescriptor
    request_type: type[Message]
    response_type: type[Message]
    path: str
    """`/package.Service/Method`."""
    policy: MethodPolicy
    context: "grpc.aio.ServicerContext[Message, Message]"
    headers: metadata.Metadata
    incoming: bytes | AsyncIterator[bytes] = b""
    """The serialized request, or the stream of them."""
    request: Message | None = None
    """None where requests are streamed."""
    response: Message | None = None
    """None where responses are streamed."""
    validates_responses: bool = False
    """Whether responses are still to be validated."""
    caller: Caller = field(default_factory=lambda: Caller("default", "local", None))
    deadline: Deadline = field(default_factory=lambda: Deadline.after(0))
    effect_key: EffectKey = field(default_factory=EffectKey)
    """The idempotency key; empty for reads."""
    epoch: Epoch | None = None
    """The epoch of the run's lease; None outside of runs."""
    lease: Deadline | None = None
    """The time until which the run's lease holds at least; None where the caller states none."""
    refusal: tuple[str, str] | None = None
    """The status code and the reason of the error that ended it; None before."""
    is_audited: bool = False
    """Whether the audit log has the outcome."""
    slot: HeldSlot | None = None
    """The slot of the service that the call holds; None where it waits."""
    parts: Admission | None = None
    """Admits the parts of a call that waits; None where the call holds a slot."""

    def fingerprint(self) -> bytes:
        """The fingerprint of method and request, which are equal in every repeat of an effect."""
        return fingerprint(self.path, self.request)

    def without_slot(self) -> AbstractAsyncContextManager[None]:
        """A context manager that gives the slot back while the body waits, and takes one again; see `HeldSlot`."""
        return self.slot.given_back() if self.slot is not None else nullcontext()

    def header(self, name: str) -> str:
        return metadata.text(self.headers, name)


def fingerprint(path: str, request: Message | None) -> bytes:
    """The SHA-256 of a method and a request; None where requests are streamed. An approval has it as its digest."""
    content = serialized(request) if request is not None else b""
    return hashlib.sha256(path.encode() + b"\0" + content).digest()


def serialized(message: Message | bytes) -> bytes:
    """The bytes of `message`: equal for equal messages, also where they hold maps. One that is serialized is kept."""
    return message if isinstance(message, bytes) else message.SerializeToString(deterministic=True)


_current: ContextVar[ref[Call] | None] = ContextVar("graphmesh_call", default=None)
"""A weak reference: timers, even cancelled ones, keep their context until they expire, and it would keep messages."""


def set_current(call: Call | None) -> None:
    """Make `call` the current one of this task and of tasks that it starts; None where a task outlives its call."""
    _current.set(ref(call) if call is not None else None)


def current_call() -> Call:
    """The call of this task.

    Raises:
        LookupError: the task belongs to no call.
    """
    call = find_current_call()
    if call is None:
        raise LookupError("this task belongs to no call")
    return call


@asynccontextmanager
async def working() -> AsyncIterator[None]:
    """Hold a slot of the service during a part of a call that waits, such as a read. Other calls hold one anyway.

    Raises:
        ConcurrencyLimit: the tenant has too many such parts in the queue.
    """
    call = find_current_call()
    if call is None or call.parts is None:
        yield
        return
    async with call.parts.part(call.caller.tenant):
        yield


def current_deadline() -> Deadline | None:
    """The deadline of the current call; None outside of calls."""
    call = find_current_call()
    return call.deadline if call is not None else None


def find_current_call() -> Call | None:
    """The call of this task; None where it belongs to none."""
    reference = _current.get()
    return reference() if reference is not None else None
