"""The mesh that benchmarks call through: Envoy, and behind it the server that answers at once."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from graphmesh_chassis.channel import CHANNEL_OPTIONS, Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_contracts import Rpc
from graphmesh_local.child_process import Program, reserve_port
from graphmesh_local.probes import grpc_health, http
from graphmesh_mesh.envoy.binary import serve_command
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.topology import Mesh, Service
from graphmesh_nodes.context import RunContext
from grpc import aio

from graphmesh_bench import server

Call = Callable[[], Awaitable[Any]]


def mesh_of(**services: tuple[Rpc[Any, Any], int]) -> Mesh:
    """A mesh of these services alone: each is told by one of its methods, and has a port."""

    def listener() -> dict[str, int]:
        return {"port": reserve_port()}

    return Mesh.model_validate(
        {
            "edge": {**listener(), "services": ("billing",)},
            "mesh": listener(),
            "admin": listener(),
            "services": {
                name: Service(service=rpc.service, module="bench", port=port) for name, (rpc, port) in services.items()
            },
        }
    )


def serving(folder: Path, log_level: str, chassis: str, *besides: str) -> Program:
    """The server on the chassis at an address, and what `server` takes besides."""
    return Program(
        name="server",
        argv=[sys.executable, "-m", server.__name__, log_level, chassis, *besides],
        log=folder / "server.log",
        probe=grpc_health(chassis, server.CHASSIS.service),
    )


def routing(mesh: Mesh, folder: Path) -> Program:
    """The Envoy of a mesh, in a folder of its own. It is ready before it knows which services are (`healthy`)."""
    write(folder, render(mesh))
    probe = http(f"http://{mesh.admin.target}/ready")
    return Program(name=folder.name, argv=serve_command(), log=folder / "envoy.log", probe=probe, folder=folder)


async def healthy(mesh: Mesh, *rpcs: Rpc[Any, Any]) -> None:
    """Wait until Envoy lets calls through."""
    async with asyncio.timeout(30), aio.insecure_channel(mesh.mesh.target, options=CHANNEL_OPTIONS) as channel:
        for rpc in rpcs:
            while True:
                try:
                    await raw(channel, rpc)()
                    break
                except aio.AioRpcError:
                    await asyncio.sleep(0.05)


def raw(channel: aio.Channel, rpc: Rpc[Any, Any]) -> Call:
    """A call by grpc.aio alone."""
    call = channel.unary_unary(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
    request = rpc.request(invoice_id=server.INVOICE_ID)

    async def made() -> Any:
        return await call(request, timeout=5)

    return made


def run_context(channel: Channel) -> RunContext:
    """Of a run that begins now, for graphs that are run without the orchestrator."""
    return RunContext(channel, "default", "bench", "run_1", Deadline.after(3600))
