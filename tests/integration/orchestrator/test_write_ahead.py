"""No effect leaves before the checkpoint that its node runs from is stored (design invariant 1; E4)."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from graphmesh_orchestrator.checkpoints import Entry, GroupCommit, LogSaver, Place, Trail

from tests.integration.orchestrator.kit import Kit, faulty, notes, orchestrating

SLOW_SECONDS = 0.2
"""What a commit takes: long enough for a call that does not wait to come before it."""


async def test_an_effect_waits_for_the_checkpoint_of_a_fork(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes back to an earlier checkpoint begins with a new one, for which LangGraph does not wait: were it
    lost with the process, the next would fork again, with other task ids and so with another key."""
    invoice = await kit.invoice()
    folder = tmp_path / "slow"
    folder.mkdir()
    async with faulty(kit.billing) as (faults, address), orchestrating(folder, kit.billing, mesh=address) as slow:
        first = await slow.run("pay_degraded", invoice_id=invoice, amount=5)
        states = [state async for state in slow.client.threads.history(first.thread_id)]
        [before] = [state.checkpoint_id for state in states if list(state.next) == ["charge"]]
        order: list[str] = []
        commit = GroupCommit._stored

        async def slowly(commits: GroupCommit, entries: Sequence[Entry]) -> Any:
            await asyncio.sleep(SLOW_SECONDS)
            sent = len(faults.keys) - 1
            outcomes = await commit(commits, entries)
            order.extend(f"checkpoint after {sent} charges" for entry in entries if entry.checkpoints)
            return outcomes

        monkeypatch.setattr(GroupCommit, "_stored", slowly)
        again = await slow.create("pay_degraded", thread_id=first.thread_id, checkpoint_id=before)
        ended = await slow.stopped(again.run_id)
        assert notes(ended)[-1] == "charged 5"
        assert order[:2] == ["checkpoint after 0 charges", "checkpoint after 1 charges"]


async def test_an_effect_of_a_subgraph_waits_for_the_graphs_around_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing of them is stored, the subgraph would begin under another namespace after a crash."""
    invoice = await kit.invoice()
    is_stored = LogSaver.is_stored

    async def but_for_the_outermost(saver: LogSaver, place: Place, trail: Trail | None) -> bool:
        return bool(place.ns) and await is_stored(saver, place, trail)

    monkeypatch.setattr(LogSaver, "is_stored", but_for_the_outermost)
    run = await kit.run("pay_nested", invoice_id=invoice, amount=5)
    assert "WRITE_AHEAD_REQUIRED" in str(run.error)
    assert await kit.charges(invoice) == 0


async def test_a_subgraph_has_effects(kit: Kit) -> None:
    """Its tasks run from checkpoints of its own, which are stored under a namespace."""
    invoice = await kit.invoice()
    run = await kit.run("pay_nested", invoice_id=invoice, amount=5)
    assert notes(run)[-1] == "charged 5"
    assert await kit.charges(invoice) == 1
