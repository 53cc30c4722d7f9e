"""A run can always end, whatever its events and its output are: what a store refuses is left out."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from google.rpc import status_pb2
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.status import from_status, to_status
from graphmesh_nodes.budget import Budget
from graphmesh_nodes.errors import ValueNotStorable
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.event_contents import node_started, status_changed
from graphmesh_orchestrator.runs.events import EventKind
from graphmesh_orchestrator.runs.run import Run
from graphmesh_orchestrator.worker.event_bounds import MAX_NODE
from graphmesh_orchestrator.worker.journal import Journal

from tests.contract.orchestrator.stores import NOW, WORKER, SqlStores, a_question
from tests.contract.runs import a_run
from tests.contract.stored_events import Event, custom, events_in

ERROR = to_status(NotFound(resource="invoice", id="in_1")).SerializeToString()
UNSTORABLE: dict[str, Any] = {
    "object": {"at": object()},
    "set": {"at": {1}},
    "decimal": {"at": Decimal(1)},
    "list": {"at": [object()] * 8},
}
"""Values that reach a store only where the conversion of events has a gap."""

unstorable = pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE)


async def begun(stores: SqlStores) -> tuple[Run, Journal]:
    run = await stores.runs.add(a_run(thread_id="t", created=NOW, webhook_url="https://example.com"), WORKER)
    return run, Journal(stores.commits, Notifier(is_alone=True), run, Budget())


async def stored(stores: SqlStores) -> tuple[Run, list[Event]]:
    """Return the run and its events, whose numbers have no gaps."""
    run = await stores.runs.get("acme", "run_1")
    events = events_in(await stores.runs.events("run_1", 0, 100))
    assert [event.seq for event in events] == list(range(1, run.accounting.last_seq + 1))
    return run, events


async def refuse() -> None:
    raise TypeError("refused")


async def test_end_is_stored_without_the_events_that_cannot_be(sql_stores: SqlStores) -> None:
    _, journal = await begun(sql_stores)
    sql_stores.writer.before_next(refuse)
    async with journal:
        journal.add_event(custom({"at": 1}))
        journal.end(RunStatus.ERROR, error=ERROR)
    run, events = await stored(sql_stores)
    assert (run.status, run.state.error, run.state.holds_thread) == (RunStatus.ERROR, ERROR, False)
    assert [event.kind for event in events] == [EventKind.STATUS]
    assert journal.ended == run


@unstorable
async def test_stored_events_are_kept(sql_stores: SqlStores, value: dict[str, Any]) -> None:
    """Only what one transaction would store is left out; the execution gets the reason."""
    _, journal = await begun(sql_stores)
    async with journal:
        journal.add_event(node_started([]), "a")
        journal.end(RunStatus.SUCCESS, output=value)
        with pytest.raises(Exception, match="JSON serializable"):
            await journal.flush()
        journal.end(RunStatus.ERROR, error=ERROR)
    run, events = await stored(sql_stores)
    assert (run.status, run.state.output) == (RunStatus.ERROR, None)
    assert [event.kind for event in events] == [EventKind.NODE_STARTED, EventKind.STATUS]


@unstorable
async def test_park_on_an_interrupt_that_cannot_be_stored_is_refused(
    sql_stores: SqlStores, value: dict[str, Any]
) -> None:
    _, journal = await begun(sql_stores)
    async with journal:
        journal.park(status_changed(RunStatus.INTERRUPTED), [a_question("run_1", value=value)])
        with pytest.raises(Exception, match="JSON serializable"):
            await journal.flush()
        journal.end(RunStatus.ERROR, error=ERROR)
    run, events = await stored(sql_stores)
    assert (run.status, len(events)) == (RunStatus.ERROR, 1)
    assert (await sql_stores.counts())["interrupts"] == 0


async def test_end_that_cannot_be_stored_is_reduced(sql_stores: SqlStores) -> None:
    """To its status, and an error that states so; no webhook announces the details."""
    _, journal = await begun(sql_stores)
    for _ in ("the events with the end", "the end alone"):
        sql_stores.writer.before_next(refuse)
    async with journal:
        journal.add_event(node_started([]), "a")
        journal.end(RunStatus.CANCELLED, error=ERROR)
    run, [end] = await stored(sql_stores)
    assert (run.status, end.kind) == (RunStatus.CANCELLED, EventKind.STATUS)
    assert run.state.error is not None
    assert from_status(status_pb2.Status.FromString(run.state.error)).reason == ValueNotStorable.reason
    assert end.data["error"] == status_pb2.Status.FromString(run.state.error)


@unstorable
async def test_other_runs_of_the_batch_are_stored(sql_stores: SqlStores, value: dict[str, Any]) -> None:
    """Another tenant's run, whose events share the transaction."""
    _, journal = await begun(sql_stores)
    other = await sql_stores.runs.add(a_run("run_2", tenant="other", created=datetime.now(UTC)), WORKER)
    async with Journal(sql_stores.commits, Notifier(is_alone=True), other, Budget()) as neighbour, journal:
        neighbour.add_event(custom({"at": 1}))
        journal.end(RunStatus.SUCCESS, output=value)
        neighbour.end(RunStatus.SUCCESS, output={})
        with pytest.raises(Exception, match="JSON serializable"):
            await journal.flush()
        journal.end(RunStatus.ERROR, error=ERROR)
    assert (await stored(sql_stores))[0].status is RunStatus.ERROR
    assert (await sql_stores.runs.get("other", "run_2")).status is RunStatus.SUCCESS
    assert len(events_in(await sql_stores.runs.events("run_2", 0, 10))) == 2


async def test_name_of_a_node_has_a_bound(sql_stores: SqlStores) -> None:
    _, journal = await begun(sql_stores)
    async with journal:
        journal.add_event(node_started([]), "n" * MAX_NODE)
        with pytest.raises(ValueNotStorable, match="256 characters"):
            journal.add_event(node_started([]), "n" * (MAX_NODE + 1))
        journal.end(RunStatus.ERROR, error=ERROR)
    assert len((await stored(sql_stores))[1]) == 2
