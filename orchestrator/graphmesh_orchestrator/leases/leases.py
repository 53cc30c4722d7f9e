"""The port of leases, and its memory twin.

A lease gives a run to one worker until it expires. Its epoch is incremented with each claim; every write for the run
proves in its transaction that the epoch is the current one (`checkpoints/group_commit.py`), and services refuse effects
of an earlier epoch. So a worker that was paused or partitioned changes nothing when it resumes, and gets `FENCED`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from graphmesh_chassis.epoch import Epoch

from graphmesh_orchestrator.db.clock import LEASE_RENEWAL_SECONDS, LEASE_SECONDS
from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.db.rows import RunRow
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.rows import run_of
from graphmesh_orchestrator.runs.run import Run

SUSPECT_TAKEOVERS = 2
"""A single takeover follows any death of a worker, and is no reason to delay a run; two without progress are."""
MAX_TAKEOVERS = 3
"""Takeovers of a run in a row, without a new checkpoint, after which it is executed. The next one ends it."""
SUSPECT_GROUP = 8
"""Suspect runs that a worker claims together. Their last execution, which each has alone, identifies the cause."""
SUSPECT_WAIT_SECONDS = 3.0
"""How long a suspect run waits for a worker that executes nothing; after that it has to be executed, and ended, too."""

JUST_EXPIRED_SECONDS = 0.01
"""The age that the end of a lease gets whose process is known to have ended. 0 is the end of one that was released."""


class Leases(Protocol):
    """The leases of one worker."""

    async def claim(
        self,
        served: Sequence[tuple[str, int]],
        limit: int,
        dead: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Sequence[Run]:
        """Claim runs of these graphs and versions that no worker holds, or a `dead` one; each gets its next epoch.

        Tenants take turns: the oldest run of each, then the second of each; the runs that are executing count. Those of
        the tenants `without` are not claimed. Workers that claim at the same time get different runs.

        A run whose execution was cut off, not released, is counted as taken over, until its worker has declared that it
        lives (`survive`). One that was taken over
        `SUSPECT_TAKEOVERS` times in a row without a checkpoint may end its processes: a worker claims it after all
        others, with `SUSPECT_GROUP` such runs at most, and while it holds no run, so that no neighbours are cut off.
        The last execution that the worker's `max_takeovers` permits is claimed alone. After `SUSPECT_WAIT_SECONDS` a
        worker claims suspects if it holds no other suspect. A cancelled run is none: it is only ended.
        """

    async def renew(self, held: Mapping[str, Epoch]) -> Mapping[str, str]:
        """Renew the leases of these runs, by their epochs, unless they were renewed a moment ago.

        Returns the runs that no other worker has claimed, with the reason for which they are to be ended, mostly empty.
        A run that has just ended or parked is among them, without a reason.
        """

    async def release(self, held: Mapping[str, Epoch]) -> None:
        """End the leases of these runs now, so that any worker may claim them."""

    async def survive(self, lost: Mapping[str, Epoch]) -> None:
        """Declare that this worker lives, and lost these leases to a slow database, not to what their runs did.

        The takeover that followed is not counted; runs that no worker has taken over yet are released.
        """

    async def release_all(self) -> None:
        """End the leases of all workers, where the database has one process: the process that held them has ended."""


class MemoryLeases:
    """Leases in memory."""

    def __init__(self, tables: MemoryTables, worker: str, max_takeovers: int = MAX_TAKEOVERS) -> None:
        self._tables, self._worker, self._max_takeovers = tables, worker, max_takeovers

    async def claim(
        self,
        served: Sequence[tuple[str, int]],
        limit: int,
        dead: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Sequence[Run]:
        turns: Counter[str] = Counter()
        free: list[tuple[int, RunRow]] = []
        for row in sorted(self._tables.runs.values(), key=lambda row: row["created"]):
            is_ours = (row["graph"], row["graph_version"]) in served and row["tenant"] not in without
            if is_ours and _is_claimable(row):
                turns[row["tenant"]] += 1
                if row["lease_expires"] < self._tables.clock() or row["lease_owner"] in dead:
                    free.append((turns[row["tenant"]], row))
        free.sort(key=lambda turn: (turn[0], turn[1]["created"]))
        claimed = [row for _, row in free if not _is_suspect(row)][:limit]
        if len(claimed) < limit:
            claimed += self._suspects([row for _, row in free if _is_suspect(row)], claimed)[: limit - len(claimed)]
        for row in claimed:
            row["takeovers"] += row["status"] == RunStatus.RUNNING and row["lease_expires"] != 0
            row["status"], row["epoch"] = RunStatus.RUNNING, row["epoch"] + 1
            row["lease_owner"], row["lease_expires"] = self._worker, self._tables.clock() + LEASE_SECONDS
        return [run_of(row) for row in claimed]

    async def renew(self, held: Mapping[str, Epoch]) -> Mapping[str, str]:
        kept = self._rows(held)
        for row in kept:
            if RunStatus(row["status"]).is_active:
                remaining = row["lease_expires"] - self._tables.clock()
                if remaining < LEASE_SECONDS - LEASE_RENEWAL_SECONDS:
                    row["lease_expires"] = self._tables.clock() + LEASE_SECONDS
        return {row["run_id"]: row["cancel_reason"] if RunStatus(row["status"]).is_active else "" for row in kept}

    async def release(self, held: Mapping[str, Epoch]) -> None:
        for row in self._rows(held):
            if RunStatus(row["status"]).is_active:
                row["lease_expires"] = 0

    async def survive(self, lost: Mapping[str, Epoch]) -> None:
        await self.release(lost)
        for run_id, epoch in lost.items():
            if (row := self._tables.runs.get(run_id)) is not None and row["epoch"] > epoch and row["takeovers"]:
                row["takeovers"] -= 1

    async def release_all(self) -> None:
        for row in self._tables.runs.values():
            if RunStatus(row["status"]).is_active and row["lease_owner"] and row["lease_expires"] != 0:
                row["lease_expires"] = self._tables.clock() - JUST_EXPIRED_SECONDS

    def _suspects(self, free: Sequence[RunRow], claimed: Sequence[RunRow]) -> list[RunRow]:
        """Return the suspects to claim: one that is executed for the last time, or some others."""
        held = [*claimed, *self._held()]
        if any(map(_is_suspect, held)):
            return []
        suspects = [row for row in free if not held or self._has_waited(row)]
        last = [row for row in suspects if row["takeovers"] >= self._max_takeovers - 1]
        return last[:1] or suspects[:SUSPECT_GROUP]

    def _held(self) -> list[RunRow]:
        return [
            row
            for row in self._tables.runs.values()
            if row["status"] == RunStatus.RUNNING
            and row["lease_owner"] == self._worker
            and row["lease_expires"] >= self._tables.clock()
        ]

    def _has_waited(self, row: RunRow) -> bool:
        return row["lease_expires"] < self._tables.clock() - SUSPECT_WAIT_SECONDS

    def _rows(self, held: Mapping[str, Epoch]) -> list[RunRow]:
        """Return the rows of the runs whose epochs these are."""
        rows = [row for run_id in held if (row := self._tables.runs.get(run_id)) is not None]
        return [row for row in rows if row["epoch"] == held[row["run_id"]]]


def _is_suspect(row: RunRow) -> bool:
    return row["takeovers"] >= SUSPECT_TAKEOVERS and not row["cancel_reason"]


def _is_claimable(row: RunRow) -> bool:
    return RunStatus(row["status"]).is_active and (row["holds_thread"] or bool(row["cancel_reason"]))
