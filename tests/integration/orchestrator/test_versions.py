"""A run resumes under the version of its graph, or under a later one whose MIGRATIONS lead up from it."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.status import from_status
from graphmesh_orchestrator.errors import MigrationFailed, VersionUnavailable

from tests.integration.orchestrator.mesh import Mesh, notes, serve_billing, serve_orchestrator
from tests.integration.orchestrator.test_interrupts import INTERRUPTED, SUCCESS, answer

MODULE = '''
"""Interrupts, and then notes the answer and a number of the state."""
from typing import Annotated, TypedDict
import operator
from langgraph.graph import START, END, StateGraph
from langgraph.types import interrupt

{version}

class State(TypedDict, total=False):
    {field}: int
    notes: Annotated[list[str], operator.add]

graph = StateGraph(State)
graph.add_node("ask", lambda state: {{"notes": [f"{{interrupt('continue?')}} {{state['{field}']}}"]}})
graph.add_edge(START, "ask")
graph.add_edge("ask", END)
'''
MIGRATIONS = "VERSION = 2\nMIGRATIONS = {1: lambda values: "
MIGRATED = MIGRATIONS + "{**values, 'counted': values.get('count', 0)}}"


def release(folder: Path, version: str, field: str) -> None:
    """Write the module of the graph `counting` as a release has it: its version, and the field of its state."""
    (folder / "counting.py").write_text(MODULE.format(version=version, field=field))


async def park(mesh: Mesh) -> pb.Run:
    run = await mesh.run("counting", count=7)
    assert run.status == INTERRUPTED
    return run


async def history_of(mesh: Mesh, thread_id: str) -> str:
    return repr([state async for state in mesh.client.threads.history(thread_id)])


def calls_on_the_state(mesh: Mesh, thread_id: str) -> list[Awaitable[Any]]:
    """Every call that reads or writes the newest state, except runs."""
    threads = mesh.client.threads
    return [threads.state(thread_id), threads.update_state(thread_id, {"notes": ["no"]})]


async def test_run_of_an_earlier_version_resumes_with_a_migrated_state(tmp_path: Path) -> None:
    """It parks under version 1 and is answered under version 2, whose field has another name."""
    async with serve_billing(tmp_path) as billing:
        release(tmp_path, "", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await park(mesh)
            assert run.versions.graph == 1
        release(tmp_path, MIGRATED, "counted")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await answer(mesh, await mesh.wait(run), "yes")
    assert (run.status, notes(run), run.versions.graph) == (SUCCESS, ["yes 7"], 2)


async def test_run_of_a_version_that_no_worker_serves_is_pending(tmp_path: Path) -> None:
    """Version 2 has no migration from version 1. Nothing is lost: a worker of version 1 resumes the run."""
    async with serve_billing(tmp_path) as billing:
        release(tmp_path, "", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await park(mesh)
        release(tmp_path, "VERSION = 2", "counted")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            found = await mesh.wait(run)
            await mesh.resume(run, {interrupt.interrupt_id: "yes" for interrupt in found.interrupts})
            assert (await mesh.run("ask_twice", name="x")).status == INTERRUPTED
            assert (await mesh.client.get_run(run.run_id)).status == pb.RunStatus.RUN_STATUS_PENDING
        release(tmp_path, "", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await mesh.wait(run)
    assert (run.status, notes(run)) == (SUCCESS, ["yes 7"])


@pytest.mark.parametrize(
    ("migration", "kind"),
    [("values['nothing']}", "KeyError"), ("values.update(counted=0)}", "TypeError")],
    ids=["raises", "returns nothing"],
)
async def test_failed_migration_ends_the_run_and_changes_no_state(tmp_path: Path, migration: str, kind: str) -> None:
    """The error names the version that could not be migrated. With a corrected migration the thread continues."""
    details = {"graph": "counting", "version": "1", "type": kind}
    async with serve_billing(tmp_path) as billing:
        release(tmp_path, "", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await park(mesh)
            before = await history_of(mesh, run.thread_id)
        release(tmp_path, MIGRATIONS + migration, "counted")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            failed = await answer(mesh, await mesh.wait(run), "yes")
            assert failed.status == pb.RunStatus.RUN_STATUS_ERROR
            error = from_status(failed.error)
            assert (error.reason, error.data) == ("MIGRATION_FAILED", details)
            for attempt in calls_on_the_state(mesh, run.thread_id):
                with pytest.raises(MigrationFailed) as refused:
                    await attempt
                assert refused.value.data == details
            assert "MIGRATION_FAILED" in await history_of(mesh, run.thread_id)
        release(tmp_path, "", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            assert await history_of(mesh, run.thread_id) == before
        release(tmp_path, MIGRATED, "counted")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            again = await mesh.wait(await mesh.create("counting", thread_id=run.thread_id))
            run = await answer(mesh, again, "yes")
    assert (run.status, notes(run)) == (SUCCESS, ["yes 7"])


async def test_state_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """As after the rollback of a release: reads, updates and runs are refused until version 2 is served again."""
    details = {"graph": "counting", "version": "2", "served": "1"}
    async with serve_billing(tmp_path) as billing:
        release(tmp_path, "VERSION = 2", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            run = await answer(mesh, await park(mesh), "yes")
            before = await history_of(mesh, run.thread_id)
        release(tmp_path, "", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            for attempt in calls_on_the_state(mesh, run.thread_id):
                with pytest.raises(VersionUnavailable) as refused:
                    await attempt
                assert refused.value.data == details
            assert "VERSION_UNAVAILABLE" in await history_of(mesh, run.thread_id)
            failed = await mesh.wait(await mesh.create("counting", {"count": 8}, thread_id=run.thread_id))
            assert failed.status == pb.RunStatus.RUN_STATUS_ERROR
            assert from_status(failed.error).data == details
        release(tmp_path, "VERSION = 2", "count")
        async with serve_orchestrator(tmp_path, billing) as mesh:
            assert await history_of(mesh, run.thread_id) == before
