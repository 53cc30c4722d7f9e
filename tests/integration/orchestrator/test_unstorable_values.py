"""Whatever a graph writes, its run ends at its first execution, and every call answers."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_local import backends

from tests.integration.orchestrator.mesh import Mesh, reason, serve_billing, serve_orchestrator
from tests.integration.orchestrator.value_graph import ERRORS, VALUES

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDS = {pb.RunStatus.RUN_STATUS_SUCCESS, pb.RunStatus.RUN_STATUS_ERROR, pb.RunStatus.RUN_STATUS_INTERRUPTED}
REASONS = {"", "VALUE_NOT_STORABLE", "NODE_FAILED", "STATE_TOO_LARGE"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> backends.Postgres | None:
    """The database server; None for SQLite."""
    return request.getfixturevalue("postgres") if request.param == "postgresql" else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def value_mesh(server: backends.Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """An orchestrator that serves the graph."""
    folder = tmp_path_factory.mktemp("values")
    shutil.copy(Path(__file__).with_name("value_graph.py"), folder)
    async with AsyncExitStack() as stack:
        fields: dict[str, Any] = {"database_url": await stack.enter_async_context(server.database())} if server else {}
        served = await stack.enter_async_context(serve_billing(folder))
        yield await stack.enter_async_context(serve_orchestrator(folder, served, **fields))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("place", ["event", "bare event", "state", "interrupt", "message"])
async def test_run_ends_whatever_it_writes(value_mesh: Mesh, place: str, kind: str) -> None:
    async with value_mesh.as_new_tenant() as mesh:
        run = await mesh.run("value_graph", place=place, kind=kind)
        assert (run.status in ENDS, run.epoch) == (True, 1)
        assert reason(run) in REASONS
        await assert_shown(mesh, run)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("long", "256 characters"), ("surrogate", "lone surrogate"), ("nul", "NUL"), ("deep", "9000 characters")],
)
async def test_name_of_a_node_that_cannot_be_stored_ends_the_run(value_mesh: Mesh, kind: str, rule: str) -> None:
    async with value_mesh.as_new_tenant() as mesh:
        run = await mesh.run("value_graph", place="name", kind=kind)
        assert run.epoch == 1
        if kind != "surrogate":  # LangGraph refuses it itself
            assert reason(run) == "VALUE_NOT_STORABLE"
            assert rule in run.error.message
        await assert_shown(mesh, run)


async def test_name_that_no_key_has_room_for_ends_the_run(value_mesh: Mesh) -> None:
    """PostgreSQL refuses the key of the subgraph's checkpoint. Meanwhile other runs are stored."""
    async with value_mesh.as_new_tenant() as mesh, value_mesh.as_new_tenant() as other:
        run = await mesh.create("value_graph", {"place": "name", "kind": "inner"})
        watched = await other.run("value_graph", place="state", kind="time")
        assert watched.status == pb.RunStatus.RUN_STATUS_SUCCESS
        run = await mesh.wait(run)
        assert (run.status in ENDS, run.epoch) == (True, 1)
        await assert_shown(mesh, run)


@pytest.mark.parametrize("kind", ERRORS)
async def test_run_ends_whatever_its_error_has(value_mesh: Mesh, kind: str) -> None:
    async with value_mesh.as_new_tenant() as mesh:
        run = await mesh.run("value_graph", place="error", kind=kind)
        assert (run.status, run.epoch) == (pb.RunStatus.RUN_STATUS_ERROR, 1)
        assert run.ByteSize() < 16_384
        await assert_shown(mesh, run)


@pytest.mark.parametrize("kind", ["doubling", "iterator", "many", "many objects", "long", "long bytes"])
@pytest.mark.parametrize("place", ["event", "bare event", "state", "interrupt"])
async def test_value_beyond_the_bounds_is_refused(value_mesh: Mesh, place: str, kind: str) -> None:
    async with value_mesh.as_new_tenant() as mesh:
        run = await mesh.run("value_graph", place=place, kind=kind)
        assert reason(run) in {"VALUE_NOT_STORABLE", "STATE_TOO_LARGE", "NODE_FAILED"}


@pytest.mark.parametrize("kind", ["nul", "surrogate", "nested"])
@pytest.mark.parametrize("place", ["event", "state", "interrupt"])
async def test_value_that_cannot_be_stored_is_named(value_mesh: Mesh, place: str, kind: str) -> None:
    async with value_mesh.as_new_tenant() as mesh:
        run = await mesh.run("value_graph", place=place, kind=kind)
        assert reason(run) == "VALUE_NOT_STORABLE"


async def assert_shown(mesh: Mesh, run: pb.Run) -> None:
    """The run, its events, and the listing that has it can be read."""
    assert (await mesh.client.get_run(run.run_id)).status == run.status
    listed = await mesh.call(pb.RunService.ListRuns, pb.ListRunsRequest())
    assert [one.run_id for one in listed.runs] == [run.run_id]
    if run.status != pb.RunStatus.RUN_STATUS_INTERRUPTED:
        events = await mesh.events(run)
        assert [event.seq for event in events] == list(range(1, run.last_seq + 1))
        assert events[-1].status_changed.status == run.status


@pytest.mark.parametrize("ttl", [1e300, -1e300, 1e11, 0])
async def test_approvals_are_listed_whatever_an_interrupt_requests(value_mesh: Mesh, ttl: float) -> None:
    async with value_mesh.as_new_tenant() as mesh:
        run = await mesh.run("value_graph", place="approval", ttl=ttl)
        assert run.status in ENDS
        assert len((await mesh.call(pb.ApprovalService.ListApprovals, pb.ListApprovalsRequest())).approvals) <= 1


async def test_run_whose_input_and_output_exceed_a_message_is_shown_without_its_input(value_mesh: Mesh) -> None:
    async with value_mesh.as_new_tenant() as mesh:
        run = await mesh.run("value_graph", place="output", value="x" * 8_300_000)
        assert (run.status, len(str(run.output["value"]))) == (pb.RunStatus.RUN_STATUS_SUCCESS, 8_300_000)
        assert (run.HasField("input"), [one.partition(":")[0] for one in run.not_shown]) == (False, ["input"])
        await assert_shown(mesh, run)
