"""The mesh of the benchmarks: Envoy, and behind it a server that responds at once."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from graphmesh_chassis.channel import CHANNEL_OPTIONS, Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import CircuitOpen
from graphmesh_contracts import Rpc
from graphmesh_local.child_process import Program, reserve_port
from graphmesh_local.probes import grpc_health_probe, http_probe
from graphmesh_mesh.envoy.binary import serve_command
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.envoy.render import render
from graphmesh_mesh.mutual_tls import MutualTls
from graphmesh_mesh.service import Service
from graphmesh_mesh.topology import Mesh
from graphmesh_nodes import RunContext
from graphmesh_nodes.context import with_run_context
from grpc import aio
from langchain_core.runnables import RunnableConfig

from graphmesh_bench import server

Call = Callable[[], Awaitable[Any]]


def mesh_with(**services: tuple[Rpc[Any, Any], int]) -> Mesh:
    """A mesh with these services only: each is given by one of its RPCs, and its port."""
    return Mesh.model_validate(
        {
            "edge": {"port": reserve_port(), "services": ("billing",)},
            "mesh": {"port": reserve_port()},
            "admin": {"port": reserve_port()},
            "services": {
                name: Service(service=rpc.service, module="bench", port=port) for name, (rpc, port) in services.items()
            },
        }
    )


def with_mutual_tls(mesh: Mesh, tls: MutualTls) -> Mesh:
    return mesh.model_copy(update={"mesh": mesh.mesh.model_copy(update={"tls": tls})})


def server_program(folder: Path, log_level: str, address: str, *further: str, python: str = sys.executable) -> Program:
    """`graphmesh_bench.server` at an address, with its `further` arguments. `python` is the interpreter that has it."""
    return Program(
        name="server",
        argv=[python, "-m", server.__name__, log_level, address, *further],
        log=folder / "server.log",
        probe=grpc_health_probe(address, server.CHASSIS.service),
    )


def envoy_program(mesh: Mesh, folder: Path) -> Program:
    """The Envoy of a mesh, in a folder of its own. It is ready before its services are (`wait_until_routed`)."""
    write(folder, render(mesh))
    probe = http_probe(f"http://{mesh.admin.target}/ready")
    return Program(name=folder.name, argv=serve_command(), log=folder / "envoy.log", probe=probe, folder=folder)


async def wait_until_routed(mesh: Mesh, *rpcs: Rpc[Any, Any]) -> None:
    """Wait until calls of the RPCs succeed through Envoy. Raises TimeoutError."""
    async with aio.insecure_channel(mesh.mesh.target, options=CHANNEL_OPTIONS) as channel:
        for rpc in rpcs:
            await wait_until_successful(grpc_call(channel, rpc))


async def wait_until_successful(call: Call) -> None:
    """Repeat a call until it succeeds. Raises TimeoutError."""
    async with asyncio.timeout(30):
        while not await _succeeds(call):
            await asyncio.sleep(0.05)


async def _succeeds(call: Call) -> bool:
    try:
        await call()
    except (aio.AioRpcError, CircuitOpen):
        return False
    return True


def grpc_call(channel: aio.Channel, rpc: Rpc[Any, Any]) -> Call:
    """A call with grpc.aio alone."""
    method = channel.unary_unary(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
    request = rpc.request(invoice_id=server.INVOICE_ID)

    async def call() -> Any:
        return await method(request, timeout=5)

    return call


def in_run(channel: Channel, config: RunnableConfig) -> RunnableConfig:
    """Add the context of a run that begins now, for graphs that are executed without the orchestrator."""
    return with_run_context(config, RunContext(channel, "default", "bench", "run_1", Deadline.after(3600)))
