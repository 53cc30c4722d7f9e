"""Invalid messages to every RPC of deploy/mesh.yaml, through the mesh listener."""

from typing import Any

import grpc
import pytest
from graphmesh.orchestrator.v1 import CreateRunRequest, RunService
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_contracts import Rpc
from graphmesh_local.child_process import State
from graphmesh_local.running_mesh import MESH_FILE, local_address
from graphmesh_mesh.topology import load

from tests.acceptance.local_mesh import LocalMesh, rpcs
from tests.contract.fields import bad_requests, sent

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL_RPCS = [rpc for service in load(MESH_FILE).services.values() for rpc in rpcs(service)]
HEADERS = (("idempotency-key", "invalid"),)
VALID_FIELDS = {RunService.CreateRun.path: CreateRunRequest(graph="support").SerializeToString()}
"""Fields that a request needs for its invalid field to be validated: a run's input has the rules of its graph."""
CALLER_ERRORS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize("rpc", ALL_RPCS, ids=lambda rpc: rpc.tool)
async def test_every_bad_field_is_named(mesh: LocalMesh, rpc: Rpc[Any, Any]) -> None:
    """10 MB, 20,000 elements, numbers out of range, unknown enum values, bytes that are not UTF-8 or not a message:
    INVALID_ARGUMENT that names the field, never an internal error, and the server keeps running."""
    async with grpc.aio.insecure_channel(local_address(mesh.running.mesh.mesh)) as channel:
        for case in bad_requests(rpc):
            refusal = await sent(channel, rpc, VALID_FIELDS.get(rpc.path, b"") + case.payload, HEADERS)
            assert case.is_named_by(refusal), f"{case.name}: {refusal!r}"
    assert all((child.state, child.starts) == (State.READY, 1) for child in mesh.running.supervisor.children)


@pytest.mark.parametrize("rpc", ALL_RPCS, ids=lambda rpc: rpc.tool)
async def test_every_missing_field_is_named(mesh: LocalMesh, rpc: Rpc[Any, Any]) -> None:
    """An empty request succeeds, or is refused with each field that is required."""
    async with grpc.aio.insecure_channel(local_address(mesh.running.mesh.mesh)) as channel:
        refusal = await sent(channel, rpc, b"", HEADERS)
    assert refusal is None or refusal.code in CALLER_ERRORS
    if isinstance(refusal, InvalidRequest):
        assert all(violation.field and violation.description for violation in refusal.violations)
