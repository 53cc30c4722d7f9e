"""The tables of the orchestrator in memory, for the memory twins of its stores."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from graphmesh_orchestrator.db.rows import DeliveryRow, EventRow, InterruptRow, RunRow, ThreadRow


class StoredInterrupt(InterruptRow):
    """An interrupt's row as it is stored."""

    expires: float
    """Seconds since 1970 of the tables' clock; 0: never."""


class MemoryTables:
    """Rows by primary key. A method of a twin changes them without awaiting, which makes it a transaction."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns seconds since 1970, as the clock of a database."""
        self.clock = clock
        self.runs: dict[str, RunRow] = {}
        self._by_thread: defaultdict[tuple[str, str], dict[str, RunRow]] = defaultdict(dict)
        self._by_request: dict[tuple[str, str], RunRow] = {}
        self.events: defaultdict[str, dict[int, EventRow]] = defaultdict(dict)
        """By run and last seq."""
        self.threads: dict[tuple[str, str], ThreadRow] = {}
        self.interrupts: dict[tuple[str, str], StoredInterrupt] = {}
        """By run and interrupt."""
        self.deliveries: dict[str, DeliveryRow] = {}
        self.feedback: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        """By run and subject."""

    def add_run(self, row: RunRow) -> None:
        self.runs[row["run_id"]] = row
        self._by_thread[row["tenant"], row["thread_id"]][row["run_id"]] = row
        if row["request_id"]:
            self._by_request[row["tenant"], row["request_id"]] = row

    def delete_run(self, run_id: str) -> None:
        """Delete a run with its events, interrupts, deliveries and feedback."""
        row = self.runs.pop(run_id)
        del self._by_thread[row["tenant"], row["thread_id"]][run_id]
        self._by_request.pop((row["tenant"], row["request_id"]), None)
        self.events.pop(run_id, None)
        self.feedback.pop(run_id, None)
        for key in [key for key in self.interrupts if key[0] == run_id]:
            del self.interrupts[key]
        for delivery_id in [row["delivery_id"] for row in self.deliveries.values() if row["run_id"] == run_id]:
            del self.deliveries[delivery_id]

    def run_of_request(self, tenant: str, request_id: str) -> RunRow | None:
        """Return the run that a request has created."""
        return self._by_request.get((tenant, request_id))

    def runs_on_thread(self, tenant: str, thread_id: str) -> list[RunRow]:
        return list(self._by_thread[tenant, thread_id].values())
