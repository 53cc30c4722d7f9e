"""A batch as one statement of PostgreSQL: it stores what many statements would."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.alone import Alone
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import Fenced
from graphmesh_nodes.budget import Usage
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.checkpoints import BLANK, Blank, Claim, Entry, GroupCommit, LogSaver
from graphmesh_orchestrator.errors import CheckpointConflict
from graphmesh_orchestrator.runs.run import Event, EventKind, Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns
from graphmesh_orchestrator.worker.journal import progress
from langchain_core.runnables import RunnableConfig
from sqlalchemy import event

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import NOW, begun, taken_over

ERROR = b"\x00\xff status"


@pytest_asyncio.fixture
async def run(database: Database) -> AsyncIterator[Run]:
    await begun(database, "r")
    yield await SqlRuns(database).get("acme", "r")


def happened(run: Run, **data: Any) -> Event:
    return Event(run.last_seq + 1, NOW, EventKind.CUSTOM, "node", data)


def stored(commits: GroupCommit, *entries: Entry) -> Any:
    """One batch of entries; why each was refused that was."""
    return commits._stored(entries)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that the database is given meanwhile."""
    given: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        given.append(statement)

    async def note_alone(alone: Alone, statement: str, parameters: Any) -> Any:
        given.append(statement)
        return await execute(alone, statement, parameters)

    engine: Any = database._engine.sync_engine
    execute = Alone.execute
    event.listen(engine, "before_cursor_execute", note)
    with patch.object(Alone, "execute", note_alone):
        yield given
    event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("text", ["plain", "quoted \" ' \\ %s %(x)s", "snow ☃ 🎿", "nothing \x00 here"])
async def test_what_is_stored_is_what_was_given(database: Database, commits: GroupCommit, run: Run, text: str) -> None:
    """Also what PostgreSQL's JSON functions refuse: a zero character goes the long way."""
    done = replace(
        run, status=RunStatus.ERROR, error=ERROR, ended=NOW, last_seq=1, holds_thread=False, usage=Usage(steps=3)
    )
    given = happened(run, said=text, none=None, deep={"list": [1, 2.5, True, {}]})
    await commits.store(progress(done, [given]))
    assert await SqlRuns(database).get("acme", "r") == done
    assert await SqlRuns(database).events("r", 0, 10) == [given]


async def test_supersteps_of_many_runs_are_one_round_trip(postgres_url: str) -> None:
    """And so are runs that are added at the same time and begin at once."""
    async with open_database(postgres_url, MIGRATIONS) as database:
        names = [f"r{number}" for number in range(5)]
        for run_id in names:
            await begun(database, run_id)
        runs = SqlRuns(database)
        found = [await runs.get("acme", run_id) for run_id in names]
        with statements(database) as given:
            await stored(GroupCommit(database), *(progress(run, [happened(run)]) for run in found))
            assert len(given) == 1
            new = [replace(found[0], run_id=name, thread_id=name, epoch=0) for name in ("n", "m")]
            assert {run.epoch for run in await asyncio.gather(*(runs.add(run, "worker") for run in new))} == {1}
            assert len(given) == 2


async def test_a_stale_writer_keeps_nobody_from_writing(database: Database, commits: GroupCommit, run: Run) -> None:
    """In one batch: what the older epoch says of a run is not stored, what the newer one says is."""
    await taken_over(database, "r")
    newer = replace(run, epoch=2, last_seq=1, usage=Usage(steps=7))
    older = replace(run, last_seq=1, usage=Usage(steps=1))
    outcomes = await stored(
        commits, progress(newer, [happened(run, by="newer")]), progress(older, [happened(run, by="older")])
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Fenced]
    assert (await SqlRuns(database).get("acme", "r")).usage.steps == 7
    [only] = await SqlRuns(database).events("r", 0, 10)
    assert only.data == {"by": "newer"}


async def test_who_comes_second_takes_nobody_along(database: Database, commits: GroupCommit, run: Run) -> None:
    """Of two checkpoints that follow the same parent one is refused, and the rest of the batch is stored."""
    row: dict[str, Any] = {"thread_id": "t", "ns": "", "parent_id": "p", "follows": "p", "run_id": None}
    row |= {"head": b"h", "data": b"d", "refers": None}
    claim = Claim("r", 1)
    entries = [Entry(claim, checkpoints=[{**row, "checkpoint_id": str(number), "stamp": number}]) for number in (1, 2)]
    outcomes = await stored(commits, *entries, progress(replace(run, last_seq=1), [happened(run)]))
    assert [type(outcome) for outcome in outcomes] == [type(None), CheckpointConflict, type(None)]
    assert len(await SqlRuns(database).events("r", 0, 10)) == 1


async def test_only_the_first_read_of_a_new_thread_is_saved(database: Database, saver: LogSaver) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "t", BLANK: Blank()}}
    with statements(database) as given:
        assert await saver.aget_tuple(config) is None
    assert given == []
    await kit.put(saver, kit.at("t"), value=1)
    assert await saver.aget_tuple(config) is not None


async def test_no_column_is_forgotten(database: Database, commits: GroupCommit, run: Run) -> None:
    """A run that has begun at once has in every column what it was added with."""
    wanted = replace(
        run,
        run_id="full",
        thread_id="full",
        epoch=0,
        request_id="asked",
        fingerprint=b"\x00\x01",
        labels={"team": "a"},
        webhook_url="https://example.com/",
        checkpoint_id="c",
        versions={"tools": "1"},
        input={"text": "☃"},
    )
    begun_run = await SqlRuns(database).add(wanted, "worker")
    assert begun_run == replace(wanted, status=RunStatus.RUNNING, holds_thread=True, epoch=1)
    assert await SqlRuns(database).get("acme", "full") == begun_run
    async with database.read() as connection:
        lease = sa.text("SELECT lease_owner, lease_expires FROM runs WHERE run_id = 'full'")
        owner, expires = (await connection.execute(lease)).one()
    assert owner == "worker"
    assert expires > NOW.timestamp()
