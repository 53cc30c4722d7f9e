"""No effect is sent before the checkpoint that its node runs from is stored."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from graphmesh_orchestrator.backend import Backend, open_backend
from graphmesh_orchestrator.checkpoints import (
    CheckpointRef,
    Entry,
    GroupCommit,
    LogSaver,
    SqlBatchWriter,
    WriteBehind,
)
from graphmesh_orchestrator.checkpoints.batch_writer import BatchWriter, Outcome
from graphmesh_orchestrator.settings import Settings

from tests.integration.orchestrator.kit import Faults, Kit, faulty, notes, orchestrating

SLOW_SECONDS = 0.2
"""The duration of a commit: long enough for a call that does not wait to arrive before it."""


@dataclass
class SlowWriter:
    """Delays batches while `is_slow`, and records how many charges had arrived before each checkpoint was stored."""

    faults: Faults
    writer: BatchWriter | None = None
    is_slow: bool = False
    order: list[str] = field(default_factory=list)

    async def write(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        assert self.writer
        if not self.is_slow:
            return await self.writer.write(entries)
        await asyncio.sleep(SLOW_SECONDS)
        charges = len(self.faults.keys) - 1
        outcomes = await self.writer.write(entries)
        self.order.extend(f"checkpoint after {charges} charges" for entry in entries if entry.checkpoints)
        return outcomes

    @asynccontextmanager
    async def backend(self, settings: Settings, worker: str) -> AsyncIterator[Backend]:
        """The SQL stores, with a checkpointer that writes through this."""
        async with open_backend(settings, worker) as backend:
            self.writer = SqlBatchWriter(backend.database)
            async with GroupCommit(self).running() as commits:
                yield replace(backend, commits=commits, saver=LogSaver(backend.database, commits))


class InnerCheckpointsOnly(LogSaver):
    """Reports the checkpoints of the outermost graph as not stored."""

    async def is_stored(self, ref: CheckpointRef, buffer: WriteBehind | None = None) -> bool:
        return bool(ref.ns) and await super().is_stored(ref, buffer)


@asynccontextmanager
async def without_outermost(settings: Settings, worker: str) -> AsyncIterator[Backend]:
    async with (
        open_backend(settings, worker) as backend,
        GroupCommit(SqlBatchWriter(backend.database)).running() as commits,
    ):
        yield replace(backend, commits=commits, saver=InnerCheckpointsOnly(backend.database, commits))


async def test_effect_waits_for_the_checkpoint_of_a_fork(kit: Kit, tmp_path: Path) -> None:
    """A run that begins from an earlier checkpoint writes a new one first, for which LangGraph does not wait. If a
    crash lost it, the next execution would fork again, with other task ids and so with another effect key."""
    invoice = await kit.invoice()
    folder = tmp_path / "slow"
    folder.mkdir()
    async with faulty(kit.billing) as (faults, address):
        writer = SlowWriter(faults)
        async with orchestrating(folder, kit.billing, mesh=address, backend=writer.backend) as slow:
            first = await slow.run("pay_degraded", invoice_id=invoice, amount=5)
            states = [state async for state in slow.client.threads.history(first.thread_id)]
            [before] = [state.checkpoint_id for state in states if list(state.next) == ["charge"]]
            writer.is_slow = True
            again = await slow.create("pay_degraded", thread_id=first.thread_id, checkpoint_id=before)
            ended = await slow.stopped(again.run_id)
            assert notes(ended)[-1] == "charged 5"
            assert writer.order[:2] == ["checkpoint after 0 charges", "checkpoint after 1 charges"]


async def test_effect_of_a_subgraph_waits_for_the_graphs_around_it(kit: Kit, tmp_path: Path) -> None:
    """If no checkpoint of theirs were stored, the subgraph would begin under another namespace after a crash."""
    invoice = await kit.invoice()
    folder = tmp_path / "inner"
    folder.mkdir()
    async with orchestrating(folder, kit.billing, backend=without_outermost) as inner:
        run = await inner.run("pay_nested", invoice_id=invoice, amount=5)
    assert "WRITE_AHEAD_REQUIRED" in str(run.error)
    assert await kit.charges(invoice) == 0


async def test_subgraph_has_effects(kit: Kit) -> None:
    """Its tasks run from checkpoints of its own, which are stored under a namespace."""
    invoice = await kit.invoice()
    run = await kit.run("pay_nested", invoice_id=invoice, amount=5)
    assert notes(run)[-1] == "charged 5"
    assert await kit.charges(invoice) == 1
