"""The group commit on PostgreSQL: one statement stores the same as one statement a table."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import Fenced
from graphmesh_nodes.budget import Usage
from graphmesh_orchestrator.backend import MIGRATIONS
from graphmesh_orchestrator.checkpoints import (
    NEW_THREAD,
    Entry,
    GroupCommit,
    LogSaver,
    NewThread,
    RunEpoch,
    SqlBatchWriter,
)
from graphmesh_orchestrator.checkpoints.rows import CheckpointRow
from graphmesh_orchestrator.errors import CheckpointConflict
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EncodedEvent
from graphmesh_orchestrator.runs.run import Accounting, Run
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.progress import progress_entry
from langchain_core.runnables import RunnableConfig

from tests.contract.batch_writers import ControlledWriter
from tests.contract.checkpoints import kit
from tests.contract.databases import ControlledDatabase, engine_events
from tests.contract.runs import a_run
from tests.contract.stored_events import custom, encoded, events_in

ERROR = b"\x00\xff status"


@pytest_asyncio.fixture
async def run(database: Database) -> Run:
    await kit.add_run(database, "r")
    return await SqlRuns(database).get("acme", "r")


def an_event(**data: Any) -> EncodedEvent:
    [event] = encoded(kit.NOW, custom(data), node="node")
    return event


def counted(run: Run, steps: int) -> Run:
    """Return a run that has one event and some steps."""
    return replace(run, accounting=Accounting(1, Usage(steps=steps)))


@pytest.mark.parametrize("text", ["plain", "quoted \" ' \\ %s %(x)s", "snow ☃ 🎿", "nothing \x00 here"])
async def test_values_are_read_as_they_were_written(
    database: Database, commits: GroupCommit, run: Run, text: str
) -> None:
    """A null character, which PostgreSQL's JSON functions refuse, is stored by one statement a table."""
    ended = run.with_state(status=RunStatus.ERROR, error=ERROR, ended=kit.NOW, holds_thread=False)
    ended = counted(ended, steps=3)
    data = {"text": text, "none": None, "deep": {"list": [1, 2.5, True, {}]}}
    await commits.store(progress_entry(ended, [an_event(**data)]))
    assert await SqlRuns(database).get("acme", "r") == ended
    [event] = events_in(await SqlRuns(database).events("r", 0, 10))
    assert (event.node, event.time, event.data) == ("node", kit.NOW, data)


async def test_supersteps_of_many_runs_are_one_round_trip(postgres_url: str) -> None:
    """And so are runs that are added at the same time and begin at once."""
    async with open_database(postgres_url, MIGRATIONS) as database:
        names = [f"r{number}" for number in range(5)]
        for run_id in names:
            await kit.add_run(database, run_id)
        running = [await SqlRuns(database).get("acme", run_id) for run_id in names]
        statements: list[str] = []
        observed = ControlledDatabase(database, before=statements.append).as_database
        with engine_events(statements.append):
            await SqlBatchWriter(observed).write([progress_entry(run, [an_event()]) for run in running])
            assert len(statements) == 1
            runs = SqlRuns(observed)
            new = [a_run(name, thread_id=name, created=kit.NOW) for name in ("n", "m")]
            added = await asyncio.gather(*(runs.add(run, "worker") for run in new))
            assert {run.state.epoch for run in added} == {1}
            assert len(statements) == 2


async def test_a_past_epoch_does_not_affect_the_current_one(
    database: Database, writer: ControlledWriter, run: Run
) -> None:
    """In one batch, the entry of the past epoch is refused, and that of the current one is stored."""
    await kit.take_over(database, "r")
    newer, older = counted(run.with_state(epoch=Epoch(2)), steps=7), counted(run, steps=1)
    outcomes = await writer.write(
        [progress_entry(newer, [an_event(by="newer")]), progress_entry(older, [an_event(by="older")])]
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Fenced]
    assert (await SqlRuns(database).get("acme", "r")).accounting.usage.steps == 7
    [only] = events_in(await SqlRuns(database).events("r", 0, 10))
    assert only.data == {"by": "newer"}


async def test_a_conflict_does_not_affect_the_batch(database: Database, writer: ControlledWriter, run: Run) -> None:
    """The second of two checkpoints that follow the same parent is refused, and the rest of the batch is stored."""
    row: CheckpointRow = {
        "thread_id": "t",
        "ns": "",
        "checkpoint_id": "1",
        "parent_id": "p",
        "follows": "p",
        "run_id": None,
        "stamp": 1,
        "head": b"h",
        "data": b"d",
        "refers": None,
    }
    epoch = RunEpoch("r", Epoch(1))
    entries = [Entry(epoch, checkpoints=[row]), Entry(epoch, checkpoints=[{**row, "checkpoint_id": "2", "stamp": 2}])]
    outcomes = await writer.write([*entries, progress_entry(counted(run, steps=0), [an_event()])])
    assert [type(outcome) for outcome in outcomes] == [type(None), CheckpointConflict, type(None)]
    assert len((await SqlRuns(database).events("r", 0, 10)).batches) == 1


async def test_the_first_read_of_a_new_thread_executes_no_statement(database: Database, saver: LogSaver) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "t", NEW_THREAD: NewThread()}}
    statements: list[str] = []
    with engine_events(statements.append):
        assert await saver.aget_tuple(config) is None
    assert statements == []
    await kit.put(saver, kit.at("t"), value=1)
    assert await saver.aget_tuple(config) is not None


async def test_every_column_of_a_run_is_stored(database: Database) -> None:
    """Also where the run is added by one statement, since it begins at once."""
    requested = a_run(
        "full",
        thread_id="full",
        created=kit.NOW,
        request_id="requested",
        fingerprint=b"\x00\x01",
        labels={"team": "a"},
        webhook_url="https://example.com/",
        checkpoint_id="c",
        versions={"tools": "1"},
        input={"text": "☃"},
    )
    added = await SqlRuns(database).add(requested, "worker")
    assert added == requested.with_state(status=RunStatus.RUNNING, holds_thread=True, epoch=Epoch(1))
    assert await SqlRuns(database).get("acme", "full") == added
    async with database.read() as connection:
        lease = sa.text("SELECT lease_owner, lease_expires FROM runs WHERE run_id = 'full'")
        owner, expires = (await connection.execute(lease)).one()
    assert owner == "worker"
    assert expires > kit.NOW.timestamp()
