"""The group commit: what the runs of this process have waiting is stored in one transaction, under their epochs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import DependencyError, Fenced, ShuttingDown
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.config_keys import Claim
from graphmesh_orchestrator.checkpoints.entries import Entry, Row, Source
from graphmesh_orchestrator.checkpoints.group_commit_postgresql import RUNNING, Batch
from graphmesh_orchestrator.checkpoints.tables import artifacts, checkpoints, task_writes
from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.tables import events, runs
from graphmesh_orchestrator.errors import CheckpointConflict

log = structlog.get_logger("graphmesh.checkpoints")

MAX_ENTRIES = 256
"""In one transaction."""
RETRY_SECONDS = 0.5
"""Between two tries to reach the database."""
PATIENCE_SECONDS = 0.02
"""How long events wait for the checkpoint of their superstep, which then takes them along."""
TURNS = 16
"""Of the event loop, for which a task's writes do. A turn takes microseconds, and LangGraph a few of them from the end
of the last task to the checkpoint; in a graph with delta channels it waits for the writes, so no clock is asked."""
LAST_TURNS = 4
"""For which a checkpoint waits for the events of its superstep: they come by another task."""


@dataclass(frozen=True)
class _Waiting:
    source: Source
    done: "asyncio.Future[None]"


@dataclass(frozen=True)
class _Taken:
    entry: Entry
    done: "asyncio.Future[None]"


class GroupCommit:
    """Stores entries. One a process, for then many runs share a transaction; several are as right.

    A checkpoint that comes alone is stored at once; what comes during a transaction is stored together in the next.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._alone = None if database.is_sqlite else database.alone()
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["GroupCommit"]:
        """Store what comes; at the end, what has come by then."""
        writer = asyncio.create_task(self._write(), name="group commit")
        try:
            yield self
        finally:
            self._closing = True
            self._wake.set()
            await writer

    async def store(self, source: Source) -> None:
        """Returns when what was there is committed. A caller that is cancelled leaves it to be stored all the same.

        Raises:
            Fenced: the claim's epoch is over; nothing of it is stored.
            CheckpointConflict: another checkpoint follows the same parent; nothing of it is stored.
        """
        if self._closing:
            raise ShuttingDown()
        waiting = _Waiting(source, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake.set()
        await waiting.done

    def look(self) -> None:
        """Look again whether the sources are patient."""
        self._wake.set()

    async def _write(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                await self._wait()
                continue
            await self._company()
            batch, self._waiting = self._waiting[:MAX_ENTRIES], self._waiting[MAX_ENTRIES:]
            await self._commit([_Taken(waiting.source.taken(), waiting.done) for waiting in batch])

    async def _company(self) -> None:
        """Let what nobody waits for be joined by the checkpoint of its superstep."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while all(waiting.source.is_patient for waiting in self._waiting) and not self._closing:
                    await self._wait()
        for _ in range(TURNS):
            if any(waiting.source.has_checkpoint for waiting in self._waiting):
                break
            await asyncio.sleep(0)
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)

    async def _wait(self) -> None:
        """Until something else comes."""
        self._wake.clear()
        await self._wake.wait()

    async def _commit(self, batch: Sequence[_Taken]) -> None:
        """Store a batch, however long the database needs to come back: to store the same rows again changes nothing."""
        while True:
            try:
                outcomes = await self._stored([taken.entry for taken in batch])
            except DependencyError as error:
                log.warning("checkpoints wait", entries=len(batch), reason=error.reason)
                if self._closing:
                    return _settle(batch, [error] * len(batch))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                return await self._commit_singly(batch, error)
            else:
                return _settle(batch, outcomes)

    async def _commit_singly(self, batch: Sequence[_Taken], error: Exception) -> None:
        """What cannot be stored fails its own writer and nobody else."""
        if len(batch) == 1:
            return _settle(batch, [error])
        for taken in batch:
            await self._commit([taken])
        return None

    async def _stored(self, entries: Sequence[Entry]) -> list[Exception | None]:
        """Store entries; returns why each was refused that was."""
        if self._alone and (batch := Batch.of(entries)):
            with contextlib.suppress(DBAPIError):  # statement by statement it is seen what cannot be stored, and whose
                rows = await self._alone.execute(*batch.statement())
                return _refusals(entries, {Claim(*row) for row in rows})
        return await self._one_by_one(entries)

    async def _one_by_one(self, entries: Sequence[Entry]) -> list[Exception | None]:
        async with self._database.transaction() as connection:
            outcomes = await self._fenced(connection, entries)
            await self._add_checkpoints(connection, entries, outcomes)
            allowed = [entry for entry, refused in zip(entries, outcomes, strict=True) if refused is None]
            await self._add(connection, task_writes, [row for entry in allowed for row in entry.writes])
            await self._add_artifacts(connection, [row for entry in allowed for row in entry.artifacts])
            await self._add(connection, events, [event for entry in allowed for event in entry.events])
            for entry in allowed:
                for table, rows in entry.further.items():
                    await self._add(connection, table, rows)
            await self._update_runs(connection, allowed)
        return outcomes

    async def _fenced(self, connection: AsyncConnection, entries: Sequence[Entry]) -> list[Exception | None]:
        """Who is refused for an epoch that is over. The rows stay locked, so the others' hold until the commit."""
        claimed = {entry.claim.run_id for entry in entries if entry.claim}
        if not claimed:
            return [None] * len(entries)
        query = sa.select(runs.c.run_id, runs.c.epoch).where(runs.c.run_id.in_(claimed))
        locked = query.order_by(runs.c.run_id).with_for_update(key_share=True)
        return _refusals(entries, {Claim(row.run_id, row.epoch) for row in await connection.execute(locked)})

    async def _add_checkpoints(
        self, connection: AsyncConnection, entries: Sequence[Entry], outcomes: list[Exception | None]
    ) -> None:
        """Insert the checkpoints of who is not refused, and refuse who comes second after a parent."""
        given = [
            (number, row)
            for number, entry in enumerate(entries)
            if outcomes[number] is None
            for row in entry.checkpoints
        ]
        if not given:
            return
        insert = self._database.insert(checkpoints).on_conflict_do_nothing()
        adding = insert.returning(*checkpoints.primary_key)
        stored = {tuple(row) for row in await connection.execute(adding, [dict(row) for _, row in given])}
        for number, row in given:
            if _key(row) not in stored and not await _exists(connection, row):
                outcomes[number] = CheckpointConflict(thread=row["thread_id"], parent=row["parent_id"] or "none")
        for row in [row for number, row in given if outcomes[number] and _key(row) in stored]:
            await connection.execute(sa.delete(checkpoints).where(*_same(row)))

    async def _add_artifacts(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Insert artifacts, or say of those that are there that they are referred to again.

        SQLite has one writer at a time, so there nobody is just taking them away.
        """
        unique = {(row["thread_id"], row["name"]): dict(row) for row in rows}
        if not unique:
            return
        insert = self._database.insert(artifacts)
        again = insert.on_conflict_do_update(
            index_elements=artifacts.primary_key, set_={"stamp": artifacts.c.stamp + 1}
        )
        statement = insert.on_conflict_do_nothing() if self._database.is_sqlite else again
        await connection.execute(statement, [unique[key] for key in sorted(unique)])

    async def _add(self, connection: AsyncConnection, table: sa.Table, rows: Sequence[Row]) -> None:
        if rows:
            insert = self._database.insert(table).on_conflict_do_nothing()
            await connection.execute(insert, [dict(row) for row in rows])

    async def _update_runs(self, connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        """Each run is written once, as its last entry has it, and its lease is renewed; all in one statement."""
        states = {entry.claim.run_id: entry.run for entry in entries if entry.run and entry.claim}
        for columns in {frozenset(state) for state in states.values()}:
            rows = [{"of": run_id, **state} for run_id, state in states.items() if state.keys() == columns]
            await connection.execute(_UPDATE, rows)
        if parked := [run_id for run_id, state in states.items() if state.get("status") == INTERRUPTED]:
            await connection.execute(_UNWANTED.where(runs.c.run_id.in_(parked)))


_UPDATE = (
    sa.update(runs)
    .where(runs.c.run_id == sa.bindparam("of"), runs.c.status == RUNNING)
    .values(lease_expires=seconds_now() + LEASE_SECONDS)
)
"""The columns besides are those of the rows that it is executed with. A run that has stopped is not its worker's any
more: a park that is stored again, since nobody knew that it was, would park it on questions that are answered."""
INTERRUPTED = "interrupted"
_UNWANTED = (
    sa.update(runs)
    .where(runs.c.status == INTERRUPTED, runs.c.cancel_reason != "")
    .values(status="pending", lease_expires=0.0)
)
"""Of runs that have just parked, those that were cancelled before their worker heard of it: as `cancel` does to who is
parked already, it hands them to a worker that ends them."""


def _refusals(entries: Sequence[Entry], current: Collection[Claim]) -> list[Exception | None]:
    """Whose epoch is over."""
    return [
        None if claim is None or claim in current else Fenced(run=claim.run_id, epoch=claim.epoch)
        for claim in (entry.claim for entry in entries)
    ]


def _settle(batch: Sequence[_Taken], outcomes: Sequence[Exception | None]) -> None:
    for taken, error in zip(batch, outcomes, strict=True):
        if taken.done.done():  # whoever waited was cancelled
            continue
        if error is None:
            taken.done.set_result(None)
        else:
            taken.done.set_exception(error)


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in checkpoints.primary_key)


async def _exists(connection: AsyncConnection, row: Row) -> bool:
    """Whether the checkpoint is stored already, by an earlier try of the same write."""
    return (await connection.execute(sa.select(checkpoints.c.stamp).where(*_same(row)))).first() is not None


def _same(row: Row) -> Sequence[sa.ColumnElement[bool]]:
    return [column == row[column.name] for column in checkpoints.primary_key]
