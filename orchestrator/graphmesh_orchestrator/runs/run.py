"""Runs and their events, as values. Standard library only."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from graphmesh_nodes.budget import Ceilings, Usage


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


@dataclass(frozen=True)
class Stand:
    """How far a run has come."""

    status: RunStatus
    last_seq: int


class Multitask(StrEnum):
    """What becomes of a run whose thread another run has (B5)."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"

    @property
    def preempts(self) -> bool:
        """Whether it ends the runs before it."""
        return self in (Multitask.INTERRUPT, Multitask.ROLLBACK)


class EventKind(StrEnum):
    """What an event says, and so what is in its data."""

    STATUS = "status"
    """`status`; `error` as base64 of a serialized google.rpc.Status, `epoch` or `interrupts` where it has them."""
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
class Interrupt:
    """A question of a parked run."""

    interrupt_id: str
    node: str
    value: Any
    """JSON."""
    approval_id: str = ""
    """Of the approval that answers it; empty where anything does."""


@dataclass(frozen=True)
class Run:
    """A run of a graph on a thread."""

    run_id: str
    tenant: str
    subject: str
    thread_id: str
    graph: str
    input: dict[str, Any] | None
    """None: it goes on from the thread's state."""
    created: datetime
    deadline: datetime
    recursion_limit: int
    ceilings: Ceilings = field(default_factory=Ceilings)
    usage: Usage = field(default_factory=Usage)
    multitask: Multitask = Multitask.REJECT
    due: float = 0
    """When it may begin at the earliest, in seconds since 1970; 0: at once."""
    checkpoint_id: str = ""
    """Of its thread, where it begins; empty: the newest."""
    webhook_url: str = ""
    graph_version: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    """Of the prompts and of the tools' contracts."""
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
    holds_thread: bool = False
    """Whether the thread is its own; a run that waits for its time or its turn, or has ended, has none."""
    parked: datetime | None = None
    """Since when it waits for answers; its deadline stands still meanwhile."""
    rolled_back: bool = False
    """Whether what it wrote to the thread is to be taken away before the next run begins."""
    epoch: int = 0
    """Grows with each takeover; what is written for the run has to be of the newest."""

    @property
    def made_its_thread(self) -> bool:
        """Whether the thread was made for it."""
        return self.thread_id == own_thread(self.run_id)


def own_thread(run_id: str) -> str:
    """The thread that is made for a run whose caller names none."""
    return f"th_{run_id.removeprefix('run_')}"
