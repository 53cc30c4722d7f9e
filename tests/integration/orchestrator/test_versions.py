"""A run goes on with the version of its graph, or with one that knows how to bring its state up (B10)."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.status import from_status
from graphmesh_orchestrator.errors import MigrationFailed, VersionUnavailable

from tests.integration.orchestrator.kit import Kit, billing_of, notes, orchestrating
from tests.integration.orchestrator.test_interrupts import INTERRUPTED, SUCCESS, answered

MODULE = '''
"""Asks, and then counts."""
from typing import Annotated, TypedDict
import operator
from langgraph.graph import START, END, StateGraph
from langgraph.types import interrupt

{version}

class State(TypedDict, total=False):
    {field}: int
    notes: Annotated[list[str], operator.add]

graph = StateGraph(State)
graph.add_node("ask", lambda state: {{"notes": [f"{{interrupt('go on?')}} {{state['{field}']}}"]}})
graph.add_edge(START, "ask")
graph.add_edge("ask", END)
'''
MIGRATIONS = "VERSION = 2\nMIGRATIONS = {1: lambda values: "
MIGRATED = MIGRATIONS + "{**values, 'counted': values.get('count', 0)}}"


def written(folder: Path, version: str, field: str) -> None:
    """The module of the graph `counting`, as its next release has it."""
    (folder / "counting.py").write_text(MODULE.format(version=version, field=field))


async def parked(kit: Kit) -> pb.Run:
    begun = await kit.create("counting", {"count": 7})
    run = await kit.stopped(begun.run_id)
    assert run.status == INTERRUPTED
    return run


async def test_a_run_of_the_version_before_goes_on_with_a_migrated_state(tmp_path: Path) -> None:
    """It parks under version 1 and is answered under version 2, whose field has another name."""
    async with billing_of(tmp_path) as billing:
        written(tmp_path, "", "count")
        async with orchestrating(tmp_path, billing) as kit:
            run = await parked(kit)
            assert run.versions.graph == 1
        written(tmp_path, MIGRATED, "counted")
        async with orchestrating(tmp_path, billing) as kit:
            run = await answered(kit, await kit.stopped(run.run_id), "yes")
    assert (run.status, notes(run), run.versions.graph) == (SUCCESS, ["yes 7"], 2)


async def test_a_run_that_no_worker_serves_waits(tmp_path: Path) -> None:
    """Version 2 does not know what to do with states of version 1: nothing is lost, and version 1 goes on with it."""
    async with billing_of(tmp_path) as billing:
        written(tmp_path, "", "count")
        async with orchestrating(tmp_path, billing) as kit:
            run = await parked(kit)
        written(tmp_path, "VERSION = 2", "counted")
        async with orchestrating(tmp_path, billing) as kit:
            found = await kit.stopped(run.run_id)
            await kit.resume(run.run_id, {asked.interrupt_id: "yes" for asked in found.interrupts})
            waiting = await kit.client.wait_run((await kit.create("ask_twice", {"name": "x"})).run_id, timeout=20)
            assert waiting.status == INTERRUPTED
            assert (await kit.client.get_run(run.run_id)).status == pb.RunStatus.RUN_STATUS_PENDING
        written(tmp_path, "", "count")
        async with orchestrating(tmp_path, billing) as kit:
            run = await kit.stopped(run.run_id)
    assert (run.status, notes(run)) == (SUCCESS, ["yes 7"])


async def _stated(kit: Kit, thread_id: str) -> str:
    """What there is to see of the thread's history."""
    return repr([state async for state in kit.client.threads.history(thread_id)])


def _on_the_state(kit: Kit, thread_id: str) -> list[Awaitable[Any]]:
    """All that reads or writes it, but for runs."""
    threads = kit.client.threads
    return [threads.state(thread_id), _stated(kit, thread_id), threads.update_state(thread_id, {"notes": ["no"]})]


@pytest.mark.parametrize(
    ("migration", "kind"),
    [("values['nothing']}", "KeyError"), ("values.update(counted=0)}", "TypeError")],
    ids=["raises", "returns nothing"],
)
async def test_a_migration_that_fails_ends_the_run_and_changes_nothing(
    tmp_path: Path, migration: str, kind: str
) -> None:
    """The run says which version could not be migrated; when the migration is mended, the thread goes on."""
    told = {"graph": "counting", "version": "1", "type": kind}
    async with billing_of(tmp_path) as billing:
        written(tmp_path, "", "count")
        async with orchestrating(tmp_path, billing) as kit:
            run = await parked(kit)
            before = await _stated(kit, run.thread_id)
        written(tmp_path, MIGRATIONS + migration, "counted")
        async with orchestrating(tmp_path, billing) as kit:
            failed = await answered(kit, await kit.stopped(run.run_id), "yes")
            assert failed.status == pb.RunStatus.RUN_STATUS_ERROR
            error = from_status(failed.error)
            assert (error.reason, error.data) == ("MIGRATION_FAILED", told)
            for attempt in _on_the_state(kit, run.thread_id):
                with pytest.raises(MigrationFailed) as refused:
                    await attempt
                assert refused.value.data == told
        written(tmp_path, "", "count")
        async with orchestrating(tmp_path, billing) as kit:
            assert await _stated(kit, run.thread_id) == before
        written(tmp_path, MIGRATED, "counted")
        async with orchestrating(tmp_path, billing) as kit:
            again = await kit.stopped((await kit.create("counting", thread_id=run.thread_id)).run_id)
            run = await answered(kit, again, "yes")
    assert (run.status, notes(run)) == (SUCCESS, ["yes 7"])


async def test_the_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """As after a release that was taken back: whoever reads, updates or runs is told; version 2 goes on with it."""
    told = {"graph": "counting", "version": "2", "served": "1"}
    async with billing_of(tmp_path) as billing:
        written(tmp_path, "VERSION = 2", "count")
        async with orchestrating(tmp_path, billing) as kit:
            run = await answered(kit, await parked(kit), "yes")
            before = await _stated(kit, run.thread_id)
        written(tmp_path, "", "count")
        async with orchestrating(tmp_path, billing) as kit:
            for attempt in _on_the_state(kit, run.thread_id):
                with pytest.raises(VersionUnavailable) as refused:
                    await attempt
                assert refused.value.data == told
            failed = await kit.stopped((await kit.create("counting", {"count": 8}, thread_id=run.thread_id)).run_id)
            assert failed.status == pb.RunStatus.RUN_STATUS_ERROR
            assert from_status(failed.error).data == told
        written(tmp_path, "VERSION = 2", "count")
        async with orchestrating(tmp_path, billing) as kit:
            assert await _stated(kit, run.thread_id) == before
