"""Invalid requests to every RPC of deploy/mesh.yaml, through the mesh listener."""

from typing import Any

import pytest
from graphmesh.orchestrator.v1 import CreateThreadRequest, ThreadService
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_chassis.testing.bad_fields import CALLER_ERRORS
from graphmesh_contracts import Rpc
from graphmesh_local.child_process import State
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import load

from tests.acceptance.local_mesh import LocalMesh
from tests.contract.fields import bad_requests, rpcs, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL_RPCS = [rpc for service in load(MESH_FILE).services.values() for rpc in rpcs(service)]
KEY = "invalid"
GRAPH, THREAD = "support", "th_invalid"


@pytest.mark.parametrize("rpc", ALL_RPCS, ids=lambda rpc: rpc.tool)
async def test_every_invalid_field_is_named(mesh: LocalMesh, rpc: Rpc[Any, Any]) -> None:
    """10 MB, 20,000 elements, numbers out of range, unknown enum values, bytes that are not UTF-8 or not a message:
    INVALID_ARGUMENT that names the field, never an internal error, and the server keeps running."""
    headers = mesh.signed_headers(rpc, key=KEY)
    async with mesh.raw_channel() as channel:
        if rpc is ThreadService.UpdateThreadState:
            thread = CreateThreadRequest(thread_id=THREAD, graph=GRAPH).SerializeToString()
            assert (
                await send(channel, ThreadService.CreateThread, thread, mesh.signed_headers(ThreadService.CreateThread))
                is None
            )
        for case in bad_requests(rpc, GRAPH, THREAD):
            error = await send(channel, rpc, case.payload, headers)
            assert case.is_named_by(error), f"{case.name}: {error!r}"
    assert all((child.state, child.starts) == (State.READY, 1) for child in mesh.running.supervisor.children)


@pytest.mark.parametrize("rpc", ALL_RPCS, ids=lambda rpc: rpc.tool)
async def test_every_missing_field_is_named(mesh: LocalMesh, rpc: Rpc[Any, Any]) -> None:
    """An empty request succeeds, or is refused with each field that is required."""
    async with mesh.raw_channel() as channel:
        error = await send(channel, rpc, b"", mesh.signed_headers(rpc, key=KEY))
    assert error is None or error.code in CALLER_ERRORS
    if isinstance(error, InvalidRequest):
        assert all(violation.field and violation.description for violation in error.violations)
