"""Every RPC of every service refuses each invalid field by name, and never answers INTERNAL."""

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
from graphmesh_contracts import Rpc
from graphmesh_mesh.topology import load

from tests.contract.fields import bad_requests, sent

MESH = Path(__file__).parents[3] / "deploy/mesh.yaml"
SERVICES = load(MESH).services
GRAPHS = Path(__file__).parents[2] / "integration/orchestrator/asking.py"
HEADERS = (("idempotency-key", "k"),)
OTHERWISE_VALID = {
    RunService.CreateRun.path: CreateRunRequest(graph="gated").SerializeToString(),
    ThreadService.UpdateThreadState.path: UpdateThreadStateRequest(thread_id="th").SerializeToString(),
}
"""The valid part of requests whose invalid fields are checked by their graph: inputs and states."""


def rpcs(service: str) -> list[Rpc[Any, Any]]:
    """The RPCs of all gRPC services that a service of mesh.yaml serves."""
    names = (SERVICES[service].service, *SERVICES[service].beside)
    handles = [getattr(importlib.import_module(package), name) for package, _, name in map(_parted, names)]
    return [value for handle in handles for value in vars(handle).values() if isinstance(value, Rpc)]


def _parted(name: str) -> tuple[str, str, str]:
    return name.rpartition(".")


EVERY = [(service, rpc) for service in SERVICES for rpc in rpcs(service)]


@asynccontextmanager
async def serving(service: str, folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Serve a service on a new SQLite database, and open a plain channel to it."""
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
async def test_every_invalid_field_is_named(service: str, rpc: Rpc[Any, Any], tmp_path: Path) -> None:
    """Too long, too many, out of range, unknown, not UTF-8: INVALID_ARGUMENT with the field's or the message's name."""
    async with serving(service, tmp_path) as channel:
        if rpc is ThreadService.UpdateThreadState:
            thread = CreateThreadRequest(thread_id="th", graph="gated").SerializeToString()
            assert await sent(channel, ThreadService.CreateThread, thread) is None
        for case in bad_requests(rpc):
            refusal = await sent(channel, rpc, OTHERWISE_VALID.get(rpc.path, b"") + case.payload, HEADERS)
            assert case.is_named_by(refusal), f"{case.name}: {refusal!r}"


@pytest.mark.parametrize(("service", "rpc"), EVERY, ids=lambda value: getattr(value, "method", value))
async def test_an_empty_request_is_answered_or_refused(service: str, rpc: Rpc[Any, Any], tmp_path: Path) -> None:
    """A request without any field is answered, or refused as invalid or not found; never with INTERNAL."""
    async with serving(service, tmp_path) as channel:
        refusal = await sent(channel, rpc, b"", HEADERS)
        assert refusal is None or refusal.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
