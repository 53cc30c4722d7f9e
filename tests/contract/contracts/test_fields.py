"""Every RPC of every service names the invalid field of a request, and never answers INTERNAL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from graphmesh.orchestrator.v1 import CreateThreadRequest, ThreadService
from graphmesh_chassis.testing.bad_fields import CALLER_ERRORS
from graphmesh_contracts import Rpc

from tests.contract.contracts.servers import SERVICES, serve
from tests.contract.fields import bad_requests, rpcs, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH, THREAD = "gated", "th"
GRAPHS = {GRAPH: f"{Path(__file__).parents[2]}/integration/orchestrator/interrupt_graphs.py:gated"}
HEADERS = (("idempotency-key", "k"),)

RPCS = [pytest.param(name, rpc, id=rpc.tool) for name, service in SERVICES.items() for rpc in rpcs(service)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channels(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """A plain channel to a server of each service of mesh.yaml, by the service's name."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(serve(name, tmp_path_factory.mktemp(name), GRAPHS))
            for name in SERVICES
        }


@pytest.fixture
def channel(channels: dict[str, grpc.aio.Channel], service: str) -> grpc.aio.Channel:
    return channels[service]


@pytest.mark.parametrize(("service", "rpc"), RPCS)
async def test_every_invalid_field_is_named(channel: grpc.aio.Channel, rpc: Rpc[Any, Any]) -> None:
    """A field that is too long, out of range, unknown or not UTF-8: INVALID_ARGUMENT with the name of the field."""
    if rpc is ThreadService.UpdateThreadState:
        thread = CreateThreadRequest(thread_id=THREAD, graph=GRAPH).SerializeToString()
        assert await send(channel, ThreadService.CreateThread, thread) is None
    for case in bad_requests(rpc, GRAPH, THREAD):
        error = await send(channel, rpc, case.payload, HEADERS)
        assert case.is_named_by(error), f"{case.name}: {error!r}"


@pytest.mark.parametrize(("service", "rpc"), RPCS)
async def test_an_empty_request_succeeds_or_is_refused(channel: grpc.aio.Channel, rpc: Rpc[Any, Any]) -> None:
    """A request without any field succeeds, or is refused as invalid or not found; never with INTERNAL."""
    error = await send(channel, rpc, b"", HEADERS)
    assert error is None or error.code in CALLER_ERRORS
