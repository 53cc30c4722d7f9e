"""The call that a server is working on."""

import hashlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from weakref import ref

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from graphmesh_contracts import MethodPolicy

from graphmesh_chassis import metadata
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.identity import Caller


@dataclass(slots=True, weakref_slot=True)
class Call:
    """One call, filled in by the hooks that it passes."""

    method: MethodDescriptor
    request_type: type[Message]
    response_type: type[Message]
    path: str
    """`/package.Service/Method`."""
    policy: MethodPolicy
    context: "grpc.aio.ServicerContext[Message, Message]"
    headers: metadata.Metadata
    payload: bytes | None = None
    """The request as it came; None where requests are streamed."""
    request: Message | None = None
    """None where requests are streamed."""
    response: Message | None = None
    """None where responses are streamed."""
    response_checked: bool = False
    """Whether the response has been held against its contract already."""
    caller: Caller = field(default_factory=lambda: Caller("default", "local", None))
    deadline: Deadline = field(default_factory=lambda: Deadline.after(0))
    effect_key: EffectKey = field(default_factory=EffectKey)
    """The idempotency key; empty for reads."""
    epoch: Epoch | None = None
    """The epoch of the worker that executes the run; None outside of runs."""
    refusal: tuple[str, str] | None = None
    """The status code and the reason that it was refused with."""

    def fingerprint(self) -> bytes:
        """What has to be equal in a repeat: the method and the request."""
        request = serialized(self.request) if self.request is not None else b""
        return hashlib.sha256(self.path.encode() + b"\0" + request).digest()

    def header(self, name: str) -> str:
        return metadata.text(self.headers, name)


def serialized(message: Message) -> bytes:
    """The bytes of `message`: equal for equal messages, also where they hold maps."""
    return message.SerializeToString(deterministic=True)


_current: ContextVar[ref[Call] | None] = ContextVar("graphmesh_call", default=None)
"""Weak, for timers keep the context that they were set in until their time, cancelled or not: and so, messages."""


def set_current(call: Call | None) -> None:
    """Make `call` the one of this task and of the tasks that it starts; None where the task outlives its call."""
    _current.set(ref(call) if call is not None else None)


def current_call() -> Call:
    """The call that this task works on.

    Raises:
        LookupError: this task works on none.
    """
    call = _under_way()
    if call is None:
        raise LookupError("no call is under way in this task")
    return call


def current_deadline() -> Deadline | None:
    """The deadline of this task's call; None outside of calls."""
    call = _under_way()
    return call.deadline if call is not None else None


def _under_way() -> Call | None:
    found = _current.get()
    return found() if found is not None else None
