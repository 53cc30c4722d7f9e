"""The gRPC channels below a `Channel`: replaced when the certificate of the client changes, closed when unused."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc
from graphmesh_contracts.workloads import ENVOY

if TYPE_CHECKING:
    from graphmesh_chassis.workload import Credentials, Workload

Options = Sequence[tuple[str, Any]]


class Connection:
    """A gRPC channel with the credentials of one time. `with` it during each call."""

    def __init__(self, address: str, options: Options, credentials: grpc.ChannelCredentials | None) -> None:
        """Without `credentials` it is plain."""
        self.channel = (
            grpc.aio.secure_channel(address, credentials, options=options)
            if credentials
            else grpc.aio.insecure_channel(address, options=options)
        )
        self.callables: dict[str, Any] = {}
        """The calls of the channel, by the path of the RPC."""
        self._calls = 0
        self._is_retired = False
        self._closing: asyncio.Task[None] | None = None

    def present(self) -> "Connection":
        """Return the connection for a call that begins now."""
        return self

    def __enter__(self) -> None:
        self._calls += 1

    def __exit__(self, *_: object) -> None:
        self._calls -= 1
        self._close_if_unused()

    def retire(self) -> None:
        """Close the channel when the last call has ended."""
        self._is_retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_retired and not self._calls:
            self._begin_to_close()

    @property
    def is_closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    async def close(self) -> None:
        await self._begin_to_close()

    def _begin_to_close(self) -> "asyncio.Task[None]":
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name="close a connection")
        return self._closing

    async def _close(self) -> None:
        await self.channel.close()


class WorkloadConnection:
    """The present connection of a workload to Envoy.

    gRPC reads the certificate of a channel once, so there is another connection when it has changed.
    """

    def __init__(self, address: str, options: Options, workload: "Workload") -> None:
        # Envoy is recognized by its name, wherever it listens: the library compares it with the DNS names of the
        # certificate, and cannot compare a URI.
        self._options = (*options, ("grpc.ssl_target_name_override", ENVOY))
        self._address, self._workload = address, workload
        self._credentials = workload.credentials()
        self._connections = [self._connect(self._credentials)]

    def _connect(self, credentials: "Credentials") -> Connection:
        from graphmesh_chassis.workload import client_credentials

        return Connection(self._address, self._options, client_credentials(credentials))

    def present(self) -> Connection:
        """Return the connection for a call that begins now."""
        credentials = self._workload.credentials()
        if credentials != self._credentials:
            self._credentials = credentials
            self._connections[-1].retire()
            self._connections = [one for one in self._connections if not one.is_closed]
            self._connections.append(self._connect(credentials))
        return self._connections[-1]

    async def close(self) -> None:
        for one in self._connections:
            await one.close()
