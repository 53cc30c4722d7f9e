"""The batch writer: repeats and races of runs that stop, in every store, and the transaction in SQL.

Its further suite, which needs leases and interrupts too, is `tests/contract/orchestrator/test_batch_writer.py`.
"""

from collections.abc import AsyncIterator

import pytest_asyncio
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import Entry, LogSaver, RunEpoch, SqlBatchWriter
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.webhooks.deliveries import delivery_row
from graphmesh_orchestrator.webhooks.receivers import announcement
from graphmesh_orchestrator.worker.progress import progress_entry

from tests.contract.checkpoints import kit
from tests.contract.orchestrator.stores import WORKER, Stores, open_stores, stop_entry
from tests.contract.runs import a_run


@pytest_asyncio.fixture
async def stores(store_url: str) -> AsyncIterator[Stores]:
    async with open_stores(store_url) as stores:
        yield stores


async def test_a_delivery_is_added_once(stores: Stores) -> None:
    """A repeat of the entry does not change a delivery that has been attempted since."""
    run = await stores.runs.add(a_run(webhook_url="https://example.com/"), WORKER)
    ended = run.with_state(status=RunStatus.SUCCESS, ended=kit.NOW, holds_thread=False)
    row = delivery_row(announcement(ended))
    entry = Entry(RunEpoch(run.run_id, run.state.epoch), deliveries=[row])
    assert await stores.writer.write([entry]) == [None]
    [attempt] = await stores.deliveries.claim(10, ())
    assert await stores.writer.write([entry]) == [None]
    assert await stores.deliveries.claim(10, ()) == []
    [stored] = await stores.deliveries.find("acme", {}, None, 10)
    assert (stored.delivery_id, stored.attempts) == (attempt.delivery_id, 1)


async def test_a_run_that_has_stopped_is_not_updated(stores: Stores) -> None:
    """Events are added, the run's row and its lease stay."""
    run = await stores.runs.add(a_run(), WORKER)
    ended = run.with_state(status=RunStatus.SUCCESS, ended=kit.NOW, holds_thread=False)
    await stores.writer.write([stop_entry(ended)])
    stored, lease_expires = await stores.runs.get("acme", run.run_id), await stores.lease_expires(run.run_id)
    await stores.writer.write([progress_entry(run, [])])
    assert await stores.runs.get("acme", run.run_id) == stored
    assert await stores.lease_expires(run.run_id) == lease_expires


async def test_a_run_that_parks_without_interrupts_and_is_cancelled_becomes_pending(stores: Stores) -> None:
    run = await stores.runs.add(a_run(), WORKER)
    await stores.runs.request_cancellation("acme", run.run_id, "not wanted any more")
    await stores.writer.write([stop_entry(run.with_state(status=RunStatus.INTERRUPTED, parked=kit.NOW))])
    assert (await stores.runs.get("acme", run.run_id)).status is RunStatus.PENDING
    assert await stores.lease_expires(run.run_id) == 0


async def test_rows_are_not_readable_before_the_commit(database: Database, saver: LogSaver) -> None:
    new, config = kit.checkpoint(value=1), kit.at("t")
    entries: list[Entry] = []

    class Recording:
        async def store(self, source: Entry) -> None:
            entries.append(source)

        def wake(self) -> None: ...

    await saver.with_commits(Recording()).aput(config, new, {"step": 0}, {"value": 1})  # type: ignore[arg-type]
    async with database.transaction() as connection:
        await SqlBatchWriter(database).add_rows(connection, entries, [None])
        assert await saver.aget_tuple(config) is None
    assert await saver.aget_tuple(config) is not None
