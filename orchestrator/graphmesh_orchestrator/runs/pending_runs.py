"""The port of runs that wait for their time or their turn on a thread, and its memory twin."""

from typing import Protocol

from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.db.rows import RunRow
from graphmesh_orchestrator.runs.rows import run_of
from graphmesh_orchestrator.runs.runs import is_ready, is_waiting, preempt


class PendingRuns(Protocol):
    """The runs of all tenants that do not hold their thread: delayed ones, and those behind another run."""

    async def next_due(self) -> float | None:
        """Return the seconds until the first run is due, negative for one that waits for its turn; None for no run."""

    async def admit(self) -> int:
        """Give free threads to the runs whose turn it is, and cancel the runs that these preempt.

        Returns the number of runs that can be claimed now. Several processes may do this at a time: a thread is given
        once.
        """


class MemoryPendingRuns:
    """Pending runs in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def next_due(self) -> float | None:
        due = [row["due"] for row in self._tables.runs.values() if is_waiting(row)]
        return min(due) - self._tables.clock() if due else None

    async def admit(self) -> int:
        ready = [row for row in self._tables.runs.values() if is_ready(self._tables, row)]
        for row in ready:
            preempt(self._tables, run_of(row))
        held = {_thread(row) for row in self._tables.runs.values() if row["holds_thread"]}
        admitted = 0
        for row in sorted(ready, key=lambda row: (row["created"], row["run_id"])):
            if is_ready(self._tables, row) and _thread(row) not in held:
                row["holds_thread"], row["lease_expires"] = True, 0.0
                held.add(_thread(row))
                admitted += 1
        return admitted


def _thread(row: RunRow) -> tuple[str, str]:
    return row["tenant"], row["thread_id"]
