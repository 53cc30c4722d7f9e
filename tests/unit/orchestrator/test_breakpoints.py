"""A run parks at its breakpoints, also where the worker dies before it has recorded the stop."""

import operator
from typing import Annotated, Any

import pytest
from graphmesh_chassis.errors import InvalidInput
from graphmesh_orchestrator.run_status import RunStatus
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.unit.orchestrator.memory_orchestrator import MemoryOrchestrator, open_orchestrator
from tests.unit.orchestrator.test_executor import a_run


class State(TypedDict):
    log: Annotated[list[str], operator.add]


@pytest.fixture
def graph() -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for name in ("draft", "check", "send"):
        builder.add_node(name, lambda state, name=name: {"log": [name]})
    return builder.add_edge(START, "draft").add_edge("draft", "check").add_edge("check", "send")


async def question_of(here: MemoryOrchestrator) -> Any:
    [question] = (await here.interrupts.open(["run_1"]))["run_1"]
    return question


async def test_run_parks_at_requested_breakpoints(graph: StateGraph[Any, Any, Any, Any]) -> None:
    async with open_orchestrator(graph) as here:
        worker = here.worker()
        breakpoints = {"before": ["check"], "after": ["check"]}
        run = await worker.execute(a_run(run_id="run_1", input={"log": []}, breakpoints=breakpoints))
        for following in (["check"], ["send"]):
            question = await question_of(here)
            assert (run.status, question.value) == (RunStatus.INTERRUPTED, {"breakpoint": following})
            await here.interrupts.answer("acme", "run_1", {question.interrupt_id: True}, "ana")
            run = await worker.stopped(await worker.claim())
        assert (run.status, run.state.output) == (RunStatus.SUCCESS, {"log": ["draft", "check", "send"]})


@pytest.mark.parametrize("breakpoints", [{"before": ["check"], "after": []}, {"before": [], "after": ["draft"]}])
async def test_another_worker_does_not_pass_a_breakpoint(
    graph: StateGraph[Any, Any, Any, Any], breakpoints: dict[str, list[str]]
) -> None:
    """The first one dies when the graph has stopped, before that is stored."""
    async with open_orchestrator(graph) as here:
        await here.worker("one").execute(a_run(run_id="run_1", input={"log": []}, breakpoints=breakpoints))
        question = await question_of(here)
        here.tables.interrupts.clear()
        row = here.tables.runs["run_1"]
        row["status"], row["parked"], row["lease_owner"], row["lease_expires"] = RunStatus.RUNNING, None, "one", 1
        worker = here.worker("two")
        run = await worker.stopped(await worker.claim())
        assert run.status is RunStatus.INTERRUPTED
        assert await question_of(here) == question
        assert "+check" not in await here.trace(run)


async def test_unknown_nodes_are_refused_by_name(graph: StateGraph[Any, Any, Any, Any]) -> None:
    async with open_orchestrator(graph) as here:
        breakpoints = {"before": ["draft", "sent"], "after": ["*", "__start__"]}
        with pytest.raises(InvalidInput) as refused:
            await here.worker().submission.create(a_run(input={"log": []}, breakpoints=breakpoints))
        fields = [violation.field for violation in refused.value.violations]
        assert fields == ["interrupt_before[1]", "interrupt_after[1]"]
