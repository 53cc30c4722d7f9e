"""Invalid requests to every RPC of deploy/mesh.yaml, through Envoy."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from graphmesh.orchestrator.v1 import CreateThreadRequest, ThreadService
from graphmesh_chassis.errors import GraphmeshError, InvalidRequest
from graphmesh_chassis.testing.bad_fields import CALLER_ERRORS
from graphmesh_contracts import Rpc
from graphmesh_local.child_process import State
from graphmesh_mesh.sample import MESH_FILE
from graphmesh_mesh.topology import load

from tests.acceptance.local_mesh import LocalMesh
from tests.contract.fields import bad_requests, rpcs, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOPOLOGY = load(MESH_FILE)
ALL_RPCS = [rpc for service in TOPOLOGY.services.values() for rpc in rpcs(service)]
EDGE_RPCS = [rpc for name in TOPOLOGY.edge.services for rpc in rpcs(TOPOLOGY.services[name])]
KEY = "invalid"
GRAPH, THREAD = "support", "th_invalid"


Call = Callable[[Rpc[Any, Any], bytes], Awaitable[GraphmeshError | None]]


@asynccontextmanager
async def calls_of(mesh: LocalMesh, rpc: Rpc[Any, Any]) -> AsyncIterator[Call]:
    """Yield a function that sends requests to the RPC's server: those of the edge there, as a tenant of their own."""
    at_edge = rpc in EDGE_RPCS
    tenant = mesh.for_tenant(rpc.tool.rpartition(".")[2].lower())
    async with grpc.aio.insecure_channel(mesh.edge) if at_edge else mesh.raw_channel() as channel:

        async def call(method: Rpc[Any, Any], payload: bytes) -> GraphmeshError | None:
            headers = (tenant.authorization,) if at_edge else mesh.signed_headers(method, key=KEY)
            return await send(channel, method, payload, headers)

        yield call


@pytest.mark.parametrize("rpc", ALL_RPCS, ids=lambda rpc: rpc.tool)
async def test_every_invalid_field_is_named(mesh: LocalMesh, rpc: Rpc[Any, Any]) -> None:
    """10 MB, 20,000 elements, numbers out of range, unknown enum values, bytes that are not UTF-8 or not a message:
    INVALID_ARGUMENT that names the field, never an internal error, and the server keeps running."""
    async with calls_of(mesh, rpc) as call:
        if rpc is ThreadService.UpdateThreadState:
            thread = CreateThreadRequest(thread_id=THREAD, graph=GRAPH).SerializeToString()
            assert await call(ThreadService.CreateThread, thread) is None
        for case in bad_requests(rpc, GRAPH, THREAD):
            error = await call(rpc, case.payload)
            assert case.is_named_by(error), f"{case.name}: {error!r}"
    assert all((child.state, child.starts) == (State.READY, 1) for child in mesh.running.supervisor.children)


@pytest.mark.parametrize("rpc", ALL_RPCS, ids=lambda rpc: rpc.tool)
async def test_every_missing_field_is_named(mesh: LocalMesh, rpc: Rpc[Any, Any]) -> None:
    """An empty request succeeds, or is refused with each field that is required."""
    async with calls_of(mesh, rpc) as call:
        error = await call(rpc, b"")
    assert error is None or error.code in CALLER_ERRORS
    if isinstance(error, InvalidRequest):
        assert all(violation.field and violation.description for violation in error.violations)
