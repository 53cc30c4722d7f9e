"""What callers think of runs: the port, and its memory twin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.telemetry import names
from graphmesh_chassis.telemetry.metrics import histogram

from graphmesh_orchestrator.db.memory_tables import MemoryTables
from graphmesh_orchestrator.errors import ResourceLimit

SCORES = histogram(
    "graphmesh.feedback",
    "1",
    "Scores that callers have given to runs, from 0 to 1; one that is replaced is counted once more",
    (names.GRAPH,),
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1),
)
MAX_CALLERS = 100
"""Callers with a feedback of the same run."""


@dataclass(frozen=True)
class Feedback:
    """What a caller thinks of a run."""

    subject: str
    score: float
    """From 0, of no use, to 1, just right."""
    comment: str
    """Redacted."""
    time: datetime


class Feedbacks(Protocol):
    """The feedback of the runs of all tenants."""

    async def record(self, tenant: str, run_id: str, feedback: Feedback) -> Feedback:
        """Store what a caller thinks of a run, in place of what it has thought before. Returns what is stored.

        Where nothing but the time differs, nothing is changed.

        Raises:
            NotFound: also for another tenant's run.
            ResourceLimit: too many callers have a feedback of the run.
        """

    async def of_run(self, run_id: str) -> Sequence[Feedback]:
        """Return the feedback of a run, the oldest first."""


def too_many(run_id: str) -> ResourceLimit:
    message = f"The run {run_id} has the feedback of {MAX_CALLERS} callers, which is the limit"
    return ResourceLimit(message, resource="feedback", limit=MAX_CALLERS)


def is_repeat(new: Feedback, stored: Feedback | None) -> bool:
    return stored is not None and (new.score, new.comment) == (stored.score, stored.comment)


class MemoryFeedbacks:
    """Feedback in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def record(self, tenant: str, run_id: str, feedback: Feedback) -> Feedback:
        row = self._tables.runs.get(run_id)
        if row is None or row["tenant"] != tenant:
            raise NotFound(resource="run", id=run_id)
        of_run = self._tables.feedback[run_id]
        stored = of_run.get(feedback.subject)
        if stored is None and len(of_run) >= MAX_CALLERS:
            raise too_many(run_id)
        if stored is None or not is_repeat(feedback, Feedback(**stored)):
            of_run[feedback.subject] = vars(feedback)
            SCORES.record(feedback.score, {names.GRAPH: row["graph"]})
        return Feedback(**of_run[feedback.subject])

    async def of_run(self, run_id: str) -> Sequence[Feedback]:
        found = (Feedback(**row) for row in self._tables.feedback[run_id].values())
        return sorted(found, key=lambda one: (one.time, one.subject))
