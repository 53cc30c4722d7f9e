"""The port that writes a batch of entries in one transaction, and its memory twin."""

from collections.abc import Collection, Sequence
from typing import Any, Protocol, cast

from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import Fenced

from graphmesh_orchestrator.checkpoints.config_keys import RunEpoch
from graphmesh_orchestrator.checkpoints.entries import Entry
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.outputs import joined

Outcome = Exception | None
"""The reason for which an entry was refused; None where it is stored."""


class BatchWriter(Protocol):
    """Writes entries in one transaction that proves their epochs."""

    async def write(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        """Store entries, and return an outcome for each. Storing the same entries again changes nothing.

        Raises:
            DependencyError: the database is unavailable; whether the entries are stored is unknown.
            Exception: an entry cannot be stored; nothing is.
        """


class MemoryBatchWriter:
    """Writes runs, events, interrupts and deliveries to memory. A memory saver keeps checkpoints itself."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def write(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        run_ids = {entry.run_epoch.run_id for entry in entries if entry.run_epoch}
        rows = [row for run_id in run_ids if (row := self._tables.runs.get(run_id))]
        current = {RunEpoch(row["run_id"], Epoch(row["epoch"])) for row in rows}
        outcomes = fencing(entries, current)
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is None:
                self._apply(entry)
        return outcomes

    def _apply(self, entry: Entry) -> None:
        for event in entry.events:
            self._tables.events[event["run_id"]].setdefault(event["last_seq"], event)
        for interrupt in entry.interrupts:
            expires = self._tables.clock() + interrupt["ttl"] if interrupt["ttl"] > 0 else 0.0
            key = (interrupt["run_id"], interrupt["interrupt_id"])
            self._tables.interrupts.setdefault(key, {**interrupt, "expires": expires})
        for delivery in entry.deliveries:
            self._tables.deliveries.setdefault(delivery["delivery_id"], delivery)
        if entry.run and entry.run_epoch:
            self._update_run(entry.run_epoch.run_id, entry)

    def _update_run(self, run_id: str, entry: Entry) -> None:
        """A run that has stopped is not its worker's any more. One that parks with a cancellation becomes pending."""
        row = self._tables.runs[run_id]
        if row["status"] != RunStatus.RUNNING:
            return
        counted, changed = row["takeovers"], cast(dict[str, Any], dict(entry.run))
        if blocks := changed.pop("output_blocks", None):
            changed["output"] = joined(changed["output"], blocks, {one["name"]: one["data"] for one in entry.artifacts})
        cast(dict[str, Any], row).update(changed)
        row["takeovers"] = min(counted, row["takeovers"])  # a worker may have declared meanwhile that it lives
        row["lease_expires"] = self._tables.clock() + LEASE_SECONDS
        if row["status"] == RunStatus.INTERRUPTED and row["cancel_reason"]:
            row["status"], row["lease_expires"] = RunStatus.PENDING, 0.0


def fencing(entries: Sequence[Entry], current: Collection[RunEpoch]) -> list[Outcome]:
    """Refuse the entries whose epoch is not among the current ones."""
    return [
        None if epoch is None or epoch in current else Fenced(run=epoch.run_id, epoch=epoch.epoch)
        for epoch in (entry.run_epoch for entry in entries)
    ]
