"""No effect is sent before the checkpoint that its node runs from is stored."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
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

from tests.integration.orchestrator.mesh import BillingProxy, Mesh, billing_proxy, notes, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW_SECONDS = 0.2
"""The duration of a commit: long enough for a call that does not wait to arrive before it."""


@dataclass
class SlowWriter:
    """Delays batches while `is_slow`, and records how many charges had arrived before each checkpoint was stored."""

    proxy: BillingProxy
    writer: BatchWriter | None = None
    is_slow: bool = False
    order: list[str] = field(default_factory=list)

    async def write(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        assert self.writer
        if not self.is_slow:
            return await self.writer.write(entries)
        await asyncio.sleep(SLOW_SECONDS)
        charges = len(self.proxy.keys) - 1
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


async def test_effect_waits_for_the_checkpoint_of_a_fork(shared_mesh: Mesh, tmp_path: Path) -> None:
    """A run that begins from an earlier checkpoint writes a new one first, for which LangGraph does not wait. If a
    crash lost it, the next execution would fork again, with other task ids and so with another effect key."""
    billing = shared_mesh.billing
    async with billing_proxy(billing) as proxy:
        writer = SlowWriter(proxy)
        async with serve_orchestrator(tmp_path, billing, billing_address=proxy.address, backend=writer.backend) as mesh:
            first = await mesh.run("pay_degraded", invoice_id=await mesh.create_invoice(), amount=5)
            states = [state async for state in mesh.client.threads.history(first.thread_id)]
            [before] = [state.checkpoint_id for state in states if list(state.next) == ["charge"]]
            writer.is_slow = True
            again = await mesh.create("pay_degraded", thread_id=first.thread_id, checkpoint_id=before)
            assert notes(await mesh.wait(again))[-1] == "charged 5"
            assert writer.order[:2] == ["checkpoint after 0 charges", "checkpoint after 1 charges"]


async def test_effect_of_a_subgraph_waits_for_the_graphs_around_it(shared_mesh: Mesh, tmp_path: Path) -> None:
    """If no checkpoint of theirs were stored, the subgraph would begin under another namespace after a crash."""
    async with serve_orchestrator(tmp_path, shared_mesh.billing, backend=without_outermost) as mesh:
        invoice_id = await mesh.create_invoice()
        run = await mesh.run("pay_nested", invoice_id=invoice_id, amount=5)
        assert "WRITE_AHEAD_REQUIRED" in str(run.error)
        assert await mesh.count_charges(invoice_id) == 0


async def test_subgraph_has_effects(mesh: Mesh) -> None:
    """Its tasks run from checkpoints of its own, which are stored under a namespace."""
    invoice_id = await mesh.create_invoice()
    run = await mesh.run("pay_nested", invoice_id=invoice_id, amount=5)
    assert notes(run)[-1] == "charged 5"
    assert await mesh.count_charges(invoice_id) == 1
