"""Deliveries in SQL: a run's end and its delivery are one transaction."""

import asyncio
from collections.abc import Sequence

import pytest
from graphmesh_nodes.budget import Budget
from graphmesh_orchestrator.checkpoints import Entry, GroupCommit, SqlBatchWriter
from graphmesh_orchestrator.checkpoints.batch_writer import Outcome
from graphmesh_orchestrator.notifications.notifier import Notifier
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.worker.journal import Journal
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.contract.orchestrator.stores import SqlStores
from tests.contract.orchestrator.test_deliveries import begun, end, found


class DyingWriter(SqlBatchWriter):
    """Fails between the rows of an entry and the update of its run, within the transaction."""

    async def add_rows(self, connection: AsyncConnection, entries: Sequence[Entry], outcomes: list[Outcome]) -> None:
        await super().add_rows(connection, entries, outcomes)
        raise MemoryError


async def test_run_has_ended_if_and_only_if_its_delivery_is_stored(sql_stores: SqlStores) -> None:
    """A process that dies just before the commit leaves neither; the next worker's end leaves both, once."""
    run = await begun(sql_stores)
    async with GroupCommit(DyingWriter(sql_stores.database)).running() as commits:
        with pytest.raises((MemoryError, asyncio.CancelledError)):
            await store_end(Journal(commits, Notifier(is_alone=True), run, Budget()))
    assert await found(sql_stores) == []
    assert (await sql_stores.runs.get("acme", "run_1")).state.ended is None
    await end(sql_stores, run)
    assert len(await found(sql_stores)) == 1
    assert (await sql_stores.runs.get("acme", "run_1")).state.ended is not None


async def store_end(journal: Journal) -> None:
    async with journal:
        journal.end(RunStatus.SUCCESS)
        await journal.flush()
