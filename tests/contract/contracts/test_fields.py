"""Every RPC of every service refuses every bad field by name, and never fails inside (A3, H2)."""

import importlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from graphmesh.orchestrator.v1 import (
    CreateRunRequest,
    CreateThreadRequest,
    RunService,
    ThreadService,
    UpdateThreadStateRequest,
)
from graphmesh_chassis.testing import running
from graphmesh_cli.mesh import load
from graphmesh_contracts import Rpc

from tests.contract.fields import bad_requests, sent

MESH = Path(__file__).parents[3] / "deploy/mesh.yaml"
SERVICES = load(MESH).services
GRAPHS = Path(__file__).parents[2] / "integration/orchestrator/asking.py"
HEADERS = (("idempotency-key", "k"),)
OTHERWISE_GOOD = {
    RunService.CreateRun.path: CreateRunRequest(graph="gated").SerializeToString(),
    ThreadService.UpdateThreadState.path: UpdateThreadStateRequest(thread_id="th").SerializeToString(),
}
"""What a request needs so that its bad field is looked at: the rules of inputs and states are their graph's."""


def rpcs(service: str) -> list[Rpc[Any, Any]]:
    """Of all gRPC services that a service of mesh.yaml serves."""
    names = (SERVICES[service].service, *SERVICES[service].beside)
    handles = [getattr(importlib.import_module(package), name) for package, _, name in map(_parted, names)]
    return [value for handle in handles for value in vars(handle).values() if isinstance(value, Rpc)]


def _parted(name: str) -> tuple[str, str, str]:
    return name.rpartition(".")


EVERY = [(service, rpc) for service in SERVICES for rpc in rpcs(service)]


@asynccontextmanager
async def serving(service: str, folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """The service as it is started, on a new SQLite database, and a bare channel to it."""
    package = SERVICES[service].module
    settings_type = importlib.import_module(f"{package}.settings").Settings
    registry = folder / "langgraph.json"
    registry.write_text(json.dumps({"graphs": {"gated": f"{GRAPHS}:gated"}}))
    stores = {"database_url": f"sqlite+aiosqlite:///{folder}/{service}.db", "graphs": registry}
    settings = settings_type(**{name: value for name, value in stores.items() if name in settings_type.model_fields})
    build = importlib.import_module(f"{package}.__main__").build
    async with (
        build(settings) as servable,
        running(servable, settings) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        yield channel


@pytest.mark.parametrize(("service", "rpc"), EVERY, ids=lambda value: getattr(value, "method", value))
async def test_every_bad_field_is_named(service: str, rpc: Rpc[Any, Any], tmp_path: Path) -> None:
    """Too long, too many, out of range, unknown, not UTF-8: INVALID_ARGUMENT, with the field or the message named."""
    async with serving(service, tmp_path) as channel:
        if rpc is ThreadService.UpdateThreadState:
            thread = CreateThreadRequest(thread_id="th", graph="gated").SerializeToString()
            assert await sent(channel, ThreadService.CreateThread, thread) is None
        for case in bad_requests(rpc):
            refusal = await sent(channel, rpc, OTHERWISE_GOOD.get(rpc.path, b"") + case.payload, HEADERS)
            assert case.is_named_by(refusal), f"{case.name}: {refusal!r}"


@pytest.mark.parametrize(("service", "rpc"), EVERY, ids=lambda value: getattr(value, "method", value))
async def test_an_empty_request_is_answered_or_refused(service: str, rpc: Rpc[Any, Any], tmp_path: Path) -> None:
    """With every field absent nothing fails inside: it is the caller's error, if it is one."""
    async with serving(service, tmp_path) as channel:
        refusal = await sent(channel, rpc, b"", HEADERS)
        assert refusal is None or refusal.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
