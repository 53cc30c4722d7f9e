"""Forks of threads on the checkpoint log."""

from datetime import timedelta

import pytest
from graphmesh_chassis.errors import AlreadyExists, NotFound
from graphmesh_orchestrator.threads.thread import State
from langgraph.types import Command

from tests.contract.checkpoints import kit
from tests.contract.orchestrator.stores import SqlStores
from tests.contract.orchestrator.thread_kit import ThreadKit


@pytest.fixture
def here(sql_stores: SqlStores) -> ThreadKit:
    return ThreadKit(sql_stores)


@pytest.mark.parametrize("graph", ["chain", "delta"])
async def test_fork_begins_at_a_checkpoint(here: ThreadKit, graph: str) -> None:
    """It has the history up to there, and both threads are independent from then on, also in delta channels."""
    thread = await here.create(graph)
    states = await here.history(thread)
    at_b = next(state for state in states if state.values["log"] == ["a", "b"])
    fork = await here.forks.fork("acme", "th", at_b.checkpoint_id, "fork")
    assert await here.history(fork) == states[states.index(at_b) :]
    await here.states.update(fork, {"log": ["other"]}, "", "")
    await here.invoke(graph, "fork", None)
    assert await here.log("fork") == ["a", "b", "other", "c", "d", "e"]
    assert await here.history(thread) == states
    await here.stores.deletion.delete("acme", "th")
    assert await here.log("fork") == ["a", "b", "other", "c", "d", "e"]


async def test_fork_has_large_values_of_its_own(here: ThreadKit) -> None:
    """Also those that are stored as artifacts."""
    thread = await here.create(document=kit.DOCUMENT)
    fork = await here.forks.fork("acme", "th", "", "fork")
    await here.stores.deletion.delete("acme", thread.thread_id)
    assert (await here.states.get(fork)).values["document"] == kit.DOCUMENT


async def test_interrupt_of_a_fork_is_answered_for_itself(here: ThreadKit) -> None:
    """The interrupt of a subgraph, and what the parallel nodes have done, are part of the fork."""
    thread = await here.create("sub")
    fork = await here.forks.fork("acme", "th", "", "fork")
    [question] = (await here.states.get(fork)).interrupts
    done = await here.invoke("sub", "fork", Command(resume={question.interrupt_id: "yes"}))
    assert (done["answer"], sorted(done["log"])) == ("yes", ["ask", "end", "other"])
    assert [one.interrupt_id for one in (await here.states.get(thread)).interrupts] == [question.interrupt_id]


async def test_fork_is_a_thread_of_its_own(here: ThreadKit) -> None:
    """With the graph, labels and time to live of the other one, under an id that is free; also of a thread without a
    state."""
    await here.threads.create("acme", "th", "chain", {"team": "ink"}, 60)
    fork = await here.forks.fork("acme", "th", "", "fork")
    assert (fork.graph, fork.labels, fork.time_to_live) == ("chain", {"team": "ink"}, timedelta(minutes=1))
    assert await here.states.get(fork) == State()
    with pytest.raises(AlreadyExists):
        await here.forks.fork("acme", "th", "", "fork")
    with pytest.raises(NotFound):
        await here.forks.fork("other", "th", "", "theirs")


async def test_missing_checkpoint_is_not_forked(here: ThreadKit) -> None:
    """A checkpoint of another thread is not one of this thread; then no thread is created."""
    await here.create()
    [newest, *_] = await here.history(await here.create(thread_id="th_2"))
    with pytest.raises(NotFound, match="checkpoint"):
        await here.forks.fork("acme", "th", newest.checkpoint_id, "new")
    with pytest.raises(NotFound, match="new"):
        await here.threads.get("acme", "new")
