"""Threads and their states, as values. Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from graphmesh_orchestrator.runs.run import Interrupt


class ThreadStatus(StrEnum):
    """Where a thread stands."""

    IDLE = "idle"
    BUSY = "busy"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Thread:
    """A thread."""

    thread_id: str
    tenant: str
    graph: str
    """Empty before its first run, where nobody has said."""
    labels: dict[str, str]
    created: datetime
    updated: datetime
    """When a run last began or ended on it, or its state was updated."""
    status: ThreadStatus
    time_to_live: timedelta | None
    """After its last use; None: for ever."""

    @property
    def expires(self) -> datetime | None:
        return self.updated + self.time_to_live if self.time_to_live is not None else None


@dataclass(frozen=True)
class State:
    """The state of a thread at a checkpoint; before the first one, everything is empty."""

    checkpoint_id: str = ""
    parent_id: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    next: Sequence[str] = ()
    interrupts: Sequence[Interrupt] = ()
    created: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""


@dataclass(frozen=True)
class Removed:
    """How much was taken away."""

    threads: int = 0
    """Of which something was."""
    runs: int = 0
    checkpoints: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(self.threads + other.threads, self.runs + other.runs, self.checkpoints + other.checkpoints)
