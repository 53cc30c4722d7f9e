"""The connection of a run to the tool services."""

from collections.abc import AsyncGenerator
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from graphmesh_chassis.channel import Headers
from graphmesh_chassis.deadline import Deadline
from graphmesh_contracts import Rpc, StreamingRpc

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class MeshChannel(Protocol):
    """Calls RPCs of any service: over gRPC, or those of twins in `graphmesh_nodes.testing`."""

    async def unary(
        self, rpc: Rpc[RequestT, ResponseT], request: RequestT, *, deadline: Deadline, headers: Headers = ()
    ) -> ResponseT:
        """Make one call, once.

        Raises:
            GraphmeshError: the error that the service answered, or the reason why it did not answer.
        """

    def stream(
        self,
        rpc: StreamingRpc[RequestT, ResponseT],
        request: RequestT,
        *,
        deadline: Deadline | None,
        headers: Headers = (),
    ) -> AsyncGenerator[ResponseT, None]:
        """Make one call whose responses are streamed. Raises as `unary`, also between two responses."""
