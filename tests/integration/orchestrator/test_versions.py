"""A run goes on with the version of its graph, or with one that knows how to bring its state up (B10)."""

from pathlib import Path

from graphmesh.orchestrator import v1 as pb

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
MIGRATED = "VERSION = 2\nMIGRATIONS = {1: lambda values: {**values, 'counted': values.get('count', 0)}}"


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
