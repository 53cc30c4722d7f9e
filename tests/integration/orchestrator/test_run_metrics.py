"""What runs do, and what waits in the database, is seen as metrics."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh_chassis.database import open_database
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.telemetry.prometheus import serving_metrics
from graphmesh_orchestrator.db.backlog import BacklogReader

from tests.integration.chassis.test_metrics import LISTEN, samples, scrape
from tests.integration.orchestrator.mesh import notes, serve_billing, serve_orchestrator

LONG = 60.0


@pytest.fixture
def address() -> Iterator[str]:
    with serving_metrics(LISTEN) as served:
        yield served


async def wait_for(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not found():
            await asyncio.sleep(0.01)


def runs(address: str, name: str) -> dict[str, float]:
    return samples(scrape(address), name)


async def test_run_is_counted_by_graph_and_end(address: str, tmp_path: Path) -> None:
    """With its steps, its calls of tools, and the commits of its checkpoints; then none is in flight."""
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing) as mesh:
        run = await mesh.run("pay", invoice_id=await mesh.create_invoice(), amount=5)
        assert notes(run)[-1] == "charged 5"
        ended = 'graphmesh_end="success",graphmesh_graph="pay",graphmesh_graph_version="1",graphmesh_tenant="default"'
        await wait_for(lambda: runs(address, "graphmesh_runs_ended_total") == {ended: 1})
        text = scrape(address)
        tools = samples(text, "graphmesh_tool_call_duration_seconds_count")
        assert tools['error_type="",graphmesh_tool="billing.Charge"'] == 1
        assert samples(text, "graphmesh_run_duration_seconds_count")
        assert samples(text, "graphmesh_run_steps_sum")['graphmesh_graph="pay"'] > 1
        assert samples(text, "graphmesh_checkpoints_commit_seconds_count")[""] > 0
        assert samples(text, "graphmesh_checkpoints_written_bytes_total")[""] > 0
        effects = samples(text, "graphmesh_server_effects_total")
        assert effects['graphmesh_end="claimed",rpc_method="graphmesh.billing.v1.BillingService/Charge"'] == 1
        assert not samples(text, "langgraph_runs_in_flight")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


async def test_what_waits_is_counted(url: str, tmp_path: Path) -> None:
    """Runs that are not due are no old ones."""
    later = Timestamp()
    later.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    settings: dict[str, Any] = {"database_url": SecretUrl(url)}
    async with serve_billing(tmp_path) as billing, serve_orchestrator(tmp_path, billing, **settings) as mesh:
        await mesh.create("pay", {"invoice_id": "in_1", "amount": 5}, schedule_time=later)
        async with open_database(url) as opened:
            backlog = await BacklogReader(opened).read()
        assert (backlog.pending, backlog.oldest, backlog.approvals, backlog.webhooks) == (1, 0.0, 0, 0)
