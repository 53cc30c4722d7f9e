"""API and worker roles, together or apart."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis import testing
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_client import Client
from graphmesh_orchestrator.__main__ import build
from graphmesh_orchestrator.intervals import Intervals
from graphmesh_orchestrator.settings import Settings
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic_settings import CliApp

from tests.integration.orchestrator.gates import GATES

GRAPH = Path(__file__).with_name("interrupt_graphs.py")


def settings_of(folder: Path, *arguments: str) -> Settings:
    """Settings as the server's command line gives them."""
    registry = folder / "langgraph.json"
    registry.write_text(json.dumps({"graphs": {"gated": f"{GRAPH}:gated"}}))
    database = f"--database-url=sqlite+aiosqlite:///{folder}/runs.db"
    return CliApp.run(Settings, cli_args=[database, f"--graphs={registry}", *arguments])


async def test_api_role_leaves_runs_to_workers(tmp_path: Path) -> None:
    """Runs are pending in the database until a worker executes them."""
    api, both = settings_of(tmp_path, "--role=api"), settings_of(tmp_path)
    GATES["open"].set()
    async with build(api) as servable, testing.running(servable, api) as served, Client(served.address) as client:
        begun = await client.create_run("gated", {"name": "open"})
        assert begun.status == pb.RunStatus.RUN_STATUS_PENDING
    async with build(both) as servable, testing.running(servable, both) as served, Client(served.address) as client:
        ended = await client.wait_run(begun.run_id, timeout=60)
        assert ended.status == pb.RunStatus.RUN_STATUS_SUCCESS


async def test_worker_role_serves_health_only(tmp_path: Path) -> None:
    """A client that calls the run service gets an error."""
    worker = settings_of(tmp_path, "--role=worker")
    async with (
        build(worker) as servable,
        testing.running(servable, worker) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        with pytest.raises(GraphmeshError):
            await served.channel.unary(pb.RunService.ListRuns, pb.ListRunsRequest(), deadline=Deadline.after(60))
        stub: Any = health_pb2_grpc.HealthStub(channel)
        health = await stub.Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING


async def test_worker_executes_at_most_its_capacity(tmp_path: Path) -> None:
    """A run beyond its capacity waits until another one has ended, and is then claimed without a poll."""
    one, never = settings_of(tmp_path, "--capacity=1"), Intervals(claim=3600)
    async with (
        build(one, intervals=never) as servable,
        testing.running(servable, one) as served,
        Client(served.address) as client,
    ):
        first = await client.create_run("gated", {"name": "closed"})
        second = await client.create_run("gated", {"name": "closed"})
        assert first.status == pb.RunStatus.RUN_STATUS_RUNNING
        assert second.status == pb.RunStatus.RUN_STATUS_PENDING
        await client.cancel_run(first.run_id, "make room")
        async with asyncio.timeout(60), aclosing(client.stream_run(second.run_id)) as events:
            async for event in events:
                if event.HasField("node_started"):
                    break
