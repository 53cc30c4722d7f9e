"""Threads and their states as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from graphmesh_orchestrator.runs.run import Interrupt


class ThreadStatus(StrEnum):
    """The status of a thread."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Thread:
    """A thread: a sequence of states, on which runs take turns."""

    thread_id: str
    tenant: str
    graph: str
    """Empty where neither the client nor a first run has named one."""
    labels: dict[str, str]
    created: datetime
    updated: datetime
    """The last time that a run began or ended on it, or its state was updated."""
    status: ThreadStatus
    time_to_live: timedelta | None
    """Counted from the last use; None: it does not expire."""

    @property
    def expires(self) -> datetime | None:
        return self.updated + self.time_to_live if self.time_to_live is not None else None


@dataclass(frozen=True)
class State:
    """The state of a thread at a checkpoint; before the first checkpoint, everything is empty."""

    checkpoint_id: str = ""
    parent_id: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    next: Sequence[str] = ()
    interrupts: Sequence[Interrupt] = ()
    created: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    not_shown: Sequence[str] = ()
    """The values that JSON cannot express, each with the reason; they are not in `values` and `metadata`."""


@dataclass(frozen=True)
class Deleted:
    """The numbers of what was deleted."""

    threads: int = 0
    """Threads of which anything was deleted."""
    runs: int = 0
    checkpoints: int = 0

    def __add__(self, other: "Deleted") -> "Deleted":
        return Deleted(self.threads + other.threads, self.runs + other.runs, self.checkpoints + other.checkpoints)
