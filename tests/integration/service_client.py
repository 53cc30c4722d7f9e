"""Calls a service under test."""

from itertools import count
from typing import TypeVar

from google.protobuf.message import Message
from graphmesh_chassis.calls import fingerprint
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_contracts import Rpc

TIMEOUT = 60
"""Seconds for each call."""

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class ServiceClient:
    """A client that sends a new idempotency key with each call that states none."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._keys = (f"key-{number}" for number in count())

    async def __call__(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, key: str | None = None, **headers: str
    ) -> ResponseT:
        """Call `rpc`; each of `headers` is sent as `x-graphmesh-<name>`, an empty `key` as it is.

        An `approval` is one of this call.
        """
        if "approval" in headers:
            headers = {"approval-digest": fingerprint(rpc.path, request).hex(), **headers}
        named = {f"x-graphmesh-{name}": value for name, value in headers.items()}
        named["idempotency-key"] = next(self._keys) if key is None else key
        return await self._channel.unary(rpc, request, deadline=Deadline.after(TIMEOUT), headers=list(named.items()))
