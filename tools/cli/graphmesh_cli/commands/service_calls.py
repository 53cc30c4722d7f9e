"""Calls of services by commands, through the mesh listener."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import uuid4

import typer
from google.protobuf.message import Message
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_contracts import Rpc, method_policy

from graphmesh_cli.commands.connection import check_tenant, mesh_target

MeshAddress = Annotated[str, typer.Option(help="The mesh listener, as host:port; by default the running mesh's.")]
TIMEOUT = 10.0
"""Seconds for one call."""

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class ServiceCalls:
    """Calls RPCs of services as a command, each with the scopes that its policy names."""

    channel: Channel
    tenant: str
    command: str
    """The subject of the calls."""

    async def __call__(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Make one call, an effect under a new key. Raises GraphmeshError."""
        headers = [
            (metadata.TENANT, self.tenant),
            (metadata.SUBJECT, self.command),
            (metadata.SCOPES, " ".join(sorted(method_policy(rpc.descriptor).scopes))),
            (metadata.IDEMPOTENCY_KEY, uuid4().hex),
        ]
        return await self.channel.unary(rpc, request, deadline=Deadline.after(TIMEOUT), headers=headers)


def call_services(
    action: Callable[[ServiceCalls], Awaitable[ResultT]], command: str, address: str, state: Path, tenant: str
) -> ResultT:
    """Run `action` with calls to the mesh at `address`, or to the one that runs from `state`.

    Raises:
        Failure: of the mesh, with advice; or no mesh runs.
    """
    check_tenant(tenant)
    target = mesh_target(address, state)

    async def run() -> ResultT:
        async with target.channel() as channel:
            return await action(ServiceCalls(channel, tenant, command))

    try:
        return asyncio.run(run())
    except GraphmeshError as error:
        raise target.failure(error) from error
