"""Hostile messages to every RPC of deploy/mesh.yaml, through the mesh (A3, H2)."""

from typing import Any

import grpc
import pytest
from graphmesh.orchestrator.v1 import CreateRunRequest, RunService
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_contracts import Rpc
from graphmesh_local.child_process import State
from graphmesh_local.running_mesh import MESH_FILE, reachable
from graphmesh_mesh.topology import load

from tests.acceptance.shop import OwnShop, rpcs
from tests.contract.fields import bad_requests, sent

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERY = [rpc for service in load(MESH_FILE).services.values() for rpc in rpcs(service)]
HEADERS = (("idempotency-key", "hostile"),)
OTHERWISE_GOOD = {RunService.CreateRun.path: CreateRunRequest(graph="support").SerializeToString()}
"""What a request needs so that its bad field is looked at: the rules of a run's input are its graph's."""
THE_CALLERS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize("rpc", EVERY, ids=lambda rpc: rpc.tool)
async def test_every_bad_field_is_named(shop: OwnShop, rpc: Rpc[Any, Any]) -> None:
    """10 MB, 20,000 elements, numbers out of range, unknown enum values, bytes that are not UTF-8 or no message at all:
    INVALID_ARGUMENT that names the field, never a failure inside, and the server goes on as if nothing had been."""
    async with grpc.aio.insecure_channel(reachable(shop.running.mesh.mesh)) as channel:
        for case in bad_requests(rpc):
            refusal = await sent(channel, rpc, OTHERWISE_GOOD.get(rpc.path, b"") + case.payload, HEADERS)
            assert case.is_named_by(refusal), f"{case.name}: {refusal!r}"
    assert all((child.state, child.starts) == (State.READY, 1) for child in shop.running.supervisor.children)


@pytest.mark.parametrize("rpc", EVERY, ids=lambda rpc: rpc.tool)
async def test_every_missing_field_is_named(shop: OwnShop, rpc: Rpc[Any, Any]) -> None:
    """A request without any field is answered, or refused with each field that it has to have."""
    async with grpc.aio.insecure_channel(reachable(shop.running.mesh.mesh)) as channel:
        refusal = await sent(channel, rpc, b"", HEADERS)
    assert refusal is None or refusal.code in THE_CALLERS
    if isinstance(refusal, InvalidRequest):
        assert all(violation.field and violation.description for violation in refusal.violations)
