"""Runs and their events, as values. Standard library only."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class RunStatus(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """Whether the run has its thread, and will go on by itself."""
        return self in (RunStatus.PENDING, RunStatus.RUNNING)


class EventKind(StrEnum):
    """What an event says, and so what is in its data."""

    STATUS = "status"
    """`status`, and `error` as base64 of a serialized google.rpc.Status."""
    NODE_STARTED = "node_started"
    """`triggers`."""
    NODE_FINISHED = "node_finished"
    """`update`, `seconds`."""
    TOOL_CALLED = "tool_called"
    """`tool`, `effect_key`, `attempts`, `seconds`, `error`, `may_have_happened`."""
    TEXT = "text"
    """`text`."""
    CUSTOM = "custom"
    """The graph's own."""


@dataclass(frozen=True)
class Event:
    """One thing that happened in a run."""

    seq: int
    """1, 2, 3, … without gaps."""
    time: datetime
    kind: EventKind
    node: str
    """Empty for the run as a whole."""
    data: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run of a graph on a thread."""

    run_id: str
    tenant: str
    subject: str
    thread_id: str
    graph: str
    input: dict[str, Any]
    created: datetime
    deadline: datetime
    recursion_limit: int
    request_id: str = ""
    fingerprint: bytes = b""
    """Of the request that created it; only with a request_id."""
    labels: dict[str, str] = field(default_factory=dict)
    status: RunStatus = RunStatus.PENDING
    output: dict[str, Any] | None = None
    error: bytes | None = None
    """A serialized google.rpc.Status."""
    started: datetime | None = None
    ended: datetime | None = None
    last_seq: int = 0
    cancel_reason: str = ""
    """Why it is to be ended; empty where nobody has asked for it."""
    epoch: int = 0
    """Grows with each takeover; what is written for the run has to be of the newest."""
