"""The journal over every store: a run's events are stored in order, and its end with them."""

import asyncio
from collections.abc import Callable

import pytest
import pytest_asyncio
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import Fenced, ShuttingDown
from graphmesh_chassis.large_values import Size
from graphmesh_nodes.budget import Budget
from graphmesh_nodes.tool_calls import ToolCalled
from graphmesh_orchestrator.checkpoints import Entry
from graphmesh_orchestrator.checkpoints.rows import TaskWriteRow
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import node_started
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.worker.event_bounds import MAX_PENDING_BYTES
from graphmesh_orchestrator.worker.journal import Journal

from tests.contract.orchestrator.stores import NOW, WORKER, Stores
from tests.contract.runs import a_run
from tests.contract.stored_events import Event, events_in

OpenJournal = Callable[[], Journal]


@pytest.fixture
def defer_seconds() -> float:
    """Entries that no caller awaits are not stored by themselves."""
    return 3600


def journal_of(stores: Stores, run: Run) -> Journal:
    return Journal(stores.commits, Notifier(is_alone=True), run, Budget())


async def stored(stores: Stores) -> tuple[RunStatus, list[Event]]:
    """Return the status of the run and its events, whose numbers have no gaps."""
    run = await stores.runs.get("acme", "run_1")
    events = events_in(await stores.runs.events("run_1", 0, 100))
    assert [event.seq for event in events] == list(range(1, run.accounting.last_seq + 1))
    return run.status, events


@pytest_asyncio.fixture
async def journal(stores: Stores) -> Journal:
    """The journal of a run that a worker executes."""
    return journal_of(stores, await stores.runs.add(a_run(thread_id="t", created=NOW), WORKER))


async def test_end_is_stored_with_the_events_before_it(stores: Stores, journal: Journal) -> None:
    """In one transaction, before which none of them is stored."""
    async with journal:
        journal.add_event(node_started([]), "a")
        await asyncio.sleep(0.01)
        assert await stored(stores) == (RunStatus.RUNNING, [])
        journal.end(RunStatus.SUCCESS, output={"paid": True})
        await journal.flush()
        status, events = await stored(stores)
    assert (status, [event.kind for event in events]) == (RunStatus.SUCCESS, [EventKind.NODE_STARTED, EventKind.STATUS])
    assert len(stores.writer.batches) == 1
    assert journal.ended == await stores.runs.get("acme", "run_1")
    assert journal.ended.state.output == {"paid": True}
    assert not journal.ended.state.holds_thread


async def test_first_end_holds(stores: Stores, journal: Journal) -> None:
    """A run that is cancelled while its success is being stored has succeeded."""
    async with journal:
        journal.end(RunStatus.SUCCESS)
        journal.end(RunStatus.CANCELLED)
    status, events = await stored(stores)
    assert (status, len(events)) == (RunStatus.SUCCESS, 1)


async def test_events_are_stored_when_the_execution_is_cancelled(stores: Stores, journal: Journal) -> None:
    """With the end that the run has by then."""

    async def execute() -> None:
        async with journal:
            journal.add_event(node_started([]), "a")
            journal.end(RunStatus.ERROR, error=b"")
            await asyncio.Event().wait()

    with stores.writer.held():
        executing = asyncio.create_task(execute())
        while not stores.writer.batches:
            await asyncio.sleep(0)
        executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
    status, events = await stored(stores)
    assert (status, len(events)) == (RunStatus.ERROR, 2)


async def test_graph_that_is_too_far_ahead_continues_when_its_events_are_stored(
    stores: Stores, journal: Journal
) -> None:
    """Also where it begins to wait while they are being stored, and nothing else is to be stored after them."""
    async with journal:
        journal.add_event(node_started([]), "a", Size(0, MAX_PENDING_BYTES + 1))
        with stores.writer.held():
            before = asyncio.create_task(journal.wait_for_room())
            while not stores.writer.batches:
                await asyncio.sleep(0)
            meanwhile = asyncio.create_task(journal.wait_for_room())
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await asyncio.gather(before, meanwhile)
        assert len((await stored(stores))[1]) == 1


async def test_graph_that_is_too_far_ahead_does_not_wait_for_a_journal_that_has_ended(stores: Stores) -> None:
    """Such as what is left of a graph that ignores its cancellation."""
    run = await stores.runs.add(a_run(thread_id="t", created=NOW), WORKER)
    journal = journal_of(stores, run.with_state(epoch=Epoch(7)))
    with pytest.raises(Fenced):
        async with journal:
            journal.add_event(node_started([]), "a", Size(0, MAX_PENDING_BYTES + 1))
    async with asyncio.timeout(30):
        with pytest.raises(Fenced):
            await journal.wait_for_room()


async def test_text_is_joined_until_it_is_stored(stores: Stores, journal: Journal) -> None:
    """Text that a model produces while an event is being stored is another event."""

    async def speak() -> None:
        journal.add_text("draft", (), "paid.")

    stores.writer.before_next(speak)
    async with journal:
        for text in ("It ", "is "):
            journal.add_text("draft", (), text)
    _, events = await stored(stores)
    assert [event.data["text"] for event in events] == ["It is ", "paid."]


async def test_text_of_another_node_is_another_event(stores: Stores, journal: Journal) -> None:
    async with journal:
        for node, text in (("a", "1"), ("b", "2"), ("b", "3"), ("a", "4")):
            journal.add_text(node, (), text)
    _, events = await stored(stores)
    assert [(event.node, event.data["text"]) for event in events] == [("a", "1"), ("b", "23"), ("a", "4")]


async def test_next_execution_continues_the_numbers(stores: Stores, journal: Journal) -> None:
    async with journal:
        journal.add_event(node_started([]), "a")
    async with journal_of(stores, await stores.runs.get("acme", "run_1")) as second:
        second.add_event(node_started([]), "a")
        second.end(RunStatus.SUCCESS)
    assert len((await stored(stores))[1]) == 3


async def test_call_is_stored_with_the_writes_of_its_node(stores: Stores, journal: Journal) -> None:
    """A node whose writes are stored is not executed again, so that no later execution would report its calls."""
    key = EffectKey("k" * 64)
    writes: TaskWriteRow = {
        "thread_id": "acme/t",
        "ns": "",
        "checkpoint_id": "c1",
        "run_id": "run_1",
        "stamp": 1,
        "data": b"x",
        "refers": None,
        "task_id": "t1",
        "task_path": "",
    }
    async with journal:
        await journal.effect_sending("pay", (), "billing.Charge", key)
        assert (await stores.runs.get("acme", "run_1")).state.open_effects.keys() == {key}
        journal.call_ended(ToolCalled("pay", "billing.Charge", key, 1, 0.1, None))
        await journal.add(Entry(writes=[writes]))
        await journal.flush()
        _, [called] = await stored(stores)
        assert (called.kind, called.data["effect_key"]) == (EventKind.TOOL_CALLED, key)
        assert (await stores.runs.get("acme", "run_1")).state.open_effects == {}


async def test_effect_of_a_closed_journal_is_refused(stores: Stores, journal: Journal) -> None:
    """A call that outlives its execution, as where a node shields it, must not wait to be recorded."""
    async with journal:
        pass
    with pytest.raises(ShuttingDown):
        await journal.effect_sending("pay", (), "billing.Charge", EffectKey("k" * 64))
