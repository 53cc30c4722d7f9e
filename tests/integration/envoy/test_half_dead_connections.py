"""Envoy closes a connection that passes no byte any more, though both sides believe that it is open."""

from pathlib import Path

import grpc
import pytest
from graphmesh_chaos.tcp_proxy import LOOPBACK, tcp_proxy
from graphmesh_local.child_process import reserve_port
from graphmesh_mesh.service import Listener

from tests.integration.envoy.envoy_harness import Replica, books_mesh, running_envoy


async def test_a_stream_on_a_half_dead_connection_ends(tmp_path: Path) -> None:
    """Before its deadline, by a ping without an answer. Later calls get a new connection."""
    replica, hidden, mesh = Replica(), Listener(port=reserve_port()), books_mesh()
    listen_port = mesh.services["books"].replica_listeners[0].port
    async with (
        replica.serving(hidden),
        tcp_proxy(LOOPBACK, hidden.port, listen_port=listen_port) as proxy,
        running_envoy(mesh, tmp_path, replica) as envoy,
    ):
        await envoy.wait_for_success()
        stream = envoy.call.list_books(timeout=60)
        assert await stream.read() is not grpc.aio.EOF
        proxy.lose_connections()
        proxy.heal()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
        await envoy.wait_for_success()
    assert ended.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
