"""Writes a batch of the group commit in SQL: on PostgreSQL mostly as one statement, else one statement a table."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.sqlite_connection import deferred
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.batch_writer import Outcome, fencing
from graphmesh_orchestrator.checkpoints.config_keys import RunEpoch
from graphmesh_orchestrator.checkpoints.entries import Entry
from graphmesh_orchestrator.checkpoints.group_commit_postgresql import TOUCHED, Batch
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.clock import LEASE_SECONDS, seconds_now
from graphmesh_orchestrator.db.rows import ArtifactRow, InterruptRow
from graphmesh_orchestrator.db.tables import artifacts, deliveries, events, interrupts, runs
from graphmesh_orchestrator.errors import CheckpointConflict
from graphmesh_orchestrator.run_status import RunStatus


class SqlBatchWriter:
    """Writes batches on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._single = None if database.is_sqlite else database.single_statement_connection()

    async def write(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        if self._single and (batch := Batch.of(entries)):
            # Where the statement fails, one statement a table shows which entry cannot be stored.
            with contextlib.suppress(DBAPIError):
                rows = await self._single.execute(*batch.statement())
                return fencing(entries, {RunEpoch(run_id, Epoch(epoch)) for run_id, epoch in rows})
        async with self._database.transaction() as connection:
            outcomes = await _fenced(connection, entries)
            await self.add_rows(connection, entries, outcomes)
            with deferred(connection):
                await _update_runs(connection, _stored(entries, outcomes))
        return outcomes

    async def add_rows(self, connection: AsyncConnection, entries: Sequence[Entry], outcomes: list[Outcome]) -> None:
        """Insert the rows of the entries that are not refused, and refuse the second checkpoint after a parent."""
        await self._add_checkpoints(connection, entries, outcomes)
        stored = _stored(entries, outcomes)
        with deferred(connection):
            await self._add(connection, task_writes, [row for entry in stored for row in entry.writes])
            await self._add_artifacts(connection, [row for entry in stored for row in entry.artifacts])
            await self._add(connection, events, [row for entry in stored for row in entry.events])
            await self._add_interrupts(connection, [row for entry in stored for row in entry.interrupts])
            await self._add(connection, deliveries, [row for entry in stored for row in entry.deliveries])

    async def _add_checkpoints(
        self, connection: AsyncConnection, entries: Sequence[Entry], outcomes: list[Outcome]
    ) -> None:
        numbered = [
            (number, row)
            for number, entry in enumerate(entries)
            if outcomes[number] is None
            for row in entry.checkpoints
        ]
        if not numbered:
            return
        insert = self._database.insert(checkpoints).on_conflict_do_nothing()
        inserted = insert.returning(*checkpoints.primary_key)
        stored = {tuple(row) for row in await connection.execute(inserted, [dict(row) for _, row in numbered])}
        for number, row in numbered:
            if _key(row) not in stored and not await _exists(connection, row):
                outcomes[number] = CheckpointConflict(thread=row["thread_id"], parent=row["parent_id"] or "none")
        for row in [row for number, row in numbered if outcomes[number] and _key(row) in stored]:
            await connection.execute(sa.delete(checkpoints).where(*_same(row)))

    async def _add_artifacts(self, connection: AsyncConnection, rows: Sequence[ArtifactRow]) -> None:
        """Insert artifacts, and increment the stamp of those that exist, so that pruning does not delete them.

        SQLite has one writer at a time, so that no pruning is under way.
        """
        unique = {(row["thread_id"], row["name"]): dict(row) for row in rows}
        if not unique:
            return
        insert = self._database.insert(artifacts)
        touch = insert.on_conflict_do_update(index_elements=artifacts.primary_key, set_=TOUCHED)
        statement = insert.on_conflict_do_nothing() if self._database.is_sqlite else touch
        await connection.execute(statement, [unique[key] for key in sorted(unique)])

    async def _add_interrupts(self, connection: AsyncConnection, rows: Sequence[InterruptRow]) -> None:
        """The database's clock stamps the expiry of an approval, and judges it later."""
        if rows:
            insert = self._database.insert(interrupts).values(expires=_EXPIRES).on_conflict_do_nothing()
            await connection.execute(insert, [dict(row) for row in rows])

    async def _add(self, connection: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            insert = self._database.insert(table).on_conflict_do_nothing()
            await connection.execute(insert, [dict(row) for row in rows])


_TTL = sa.bindparam("ttl", type_=sa.Float())
_EXPIRES = sa.case((_TTL > 0, seconds_now() + _TTL), else_=sa.literal_column("0.0"))
TAKEOVERS = "takeovers_of_run"
_TAKEOVERS = sa.bindparam(TAKEOVERS, type_=sa.BigInteger())
_UPDATE = (
    sa.update(runs)
    .where(runs.c.run_id == sa.bindparam("updated_run"), runs.c.status == RunStatus.RUNNING)
    .values(
        lease_expires=seconds_now() + LEASE_SECONDS,
        takeovers=sa.case((runs.c.takeovers < _TAKEOVERS, runs.c.takeovers), else_=_TAKEOVERS),
    )
)
"""Takeovers only decrease: a worker may have declared meanwhile that it lives. Further columns are those of the rows
that it is executed with. A run that has stopped no longer belongs to its worker: a park that is stored again, since its
outcome was unknown, would park the run on answered interrupts."""
_PARKED_AND_CANCELLED = (
    sa.update(runs)
    .where(runs.c.status == RunStatus.INTERRUPTED, runs.c.cancel_reason != "")
    .values(status=RunStatus.PENDING, lease_expires=0.0)
)
"""A run that was cancelled while it parked becomes pending, for a worker to end it."""


async def _fenced(connection: AsyncConnection, entries: Sequence[Entry]) -> list[Outcome]:
    """Refuse the entries of past epochs. The rows stay locked, so that the others are current until the commit."""
    run_ids = {entry.run_epoch.run_id for entry in entries if entry.run_epoch}
    if not run_ids:
        return [None] * len(entries)
    query = sa.select(runs.c.run_id, runs.c.epoch).where(runs.c.run_id.in_(run_ids))
    locked = query.order_by(runs.c.run_id).with_for_update(key_share=True)
    return fencing(entries, {RunEpoch(row.run_id, Epoch(row.epoch)) for row in await connection.execute(locked)})


async def _update_runs(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Update each run once, as its last entry has it, and renew its lease."""
    updates = {entry.run_epoch.run_id: entry.run for entry in entries if entry.run and entry.run_epoch}
    for columns in {frozenset(update) for update in updates.values()}:
        rows = [{"updated_run": run_id, **update} for run_id, update in updates.items() if update.keys() == columns]
        for row in rows:
            row[TAKEOVERS] = row.pop("takeovers", sys.maxsize)
        await connection.execute(_UPDATE, rows)
    if parked := [run_id for run_id, update in updates.items() if update.get("status") == RunStatus.INTERRUPTED]:
        await connection.execute(_PARKED_AND_CANCELLED.where(runs.c.run_id.in_(parked)))


def _stored(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> list[Entry]:
    return [entry for entry, refused in zip(entries, outcomes, strict=True) if refused is None]


def _key(row: Mapping[str, object]) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in checkpoints.primary_key)


async def _exists(connection: AsyncConnection, row: Mapping[str, object]) -> bool:
    """Whether the checkpoint is stored already, by an earlier attempt of the same write."""
    return (await connection.execute(sa.select(checkpoints.c.stamp).where(*_same(row)))).first() is not None


def _same(row: Mapping[str, object]) -> Sequence[sa.ColumnElement[bool]]:
    return [column == row[column.name] for column in checkpoints.primary_key]
