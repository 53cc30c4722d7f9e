"""Runs as values."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self, TypedDict

from graphmesh_chassis.epoch import Epoch
from graphmesh_nodes.budget import Limits, Usage

from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.events import EventBatch, EventKind

DEFAULT_RECURSION_LIMIT = 25
"""The supersteps of an execution, where neither the client nor the assistant states a limit."""


class Multitask(StrEnum):
    """The strategy for a run whose thread another run holds."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"

    @property
    def preempts(self) -> bool:
        """Whether the run cancels the runs before it."""
        return self in (Multitask.INTERRUPT, Multitask.ROLLBACK)


class StreamMode(StrEnum):
    """The contents of events; LangGraph's modes, and `text`."""

    UPDATES = "updates"
    CUSTOM = "custom"
    TEXT = "text"
    MESSAGES = "messages"
    VALUES = "values"
    TASKS = "tasks"
    CHECKPOINTS = "checkpoints"
    DEBUG = "debug"

    @property
    def kinds(self) -> frozenset[EventKind]:
        """The kinds of events that have them."""
        return _KINDS[self]


DEFAULT_MODES = (StreamMode.UPDATES, StreamMode.CUSTOM, StreamMode.TEXT)
_KINDS = {
    StreamMode.UPDATES: frozenset(
        {
            EventKind.NODE_STARTED,
            EventKind.NODE_FINISHED,
            EventKind.TOOL_CALLED,
            EventKind.ROUTE_TAKEN,
            EventKind.VALIDATED,
            EventKind.ESCALATED,
        }
    ),
    StreamMode.CUSTOM: frozenset({EventKind.CUSTOM}),
    StreamMode.TEXT: frozenset({EventKind.TEXT}),
    StreamMode.MESSAGES: frozenset({EventKind.MESSAGE}),
    StreamMode.VALUES: frozenset({EventKind.VALUES}),
    StreamMode.TASKS: frozenset({EventKind.TASK}),
    StreamMode.CHECKPOINTS: frozenset({EventKind.CHECKPOINT}),
    StreamMode.DEBUG: frozenset({EventKind.DEBUG}),
}


class OpenEffect(TypedDict):
    """An effect that was sent, or is about to be, and whose outcome is not known."""

    node: str
    namespace: list[str]
    """The subgraph of the node; empty for the run's graph."""
    tool: str
    is_reported: bool
    """Whether an event of the run has the call already."""


@dataclass(frozen=True)
class Interrupt:
    """A question of a parked run."""

    interrupt_id: str
    node: str
    value: Any
    """JSON."""
    approval_id: str = ""
    """The approval that answers the interrupt; empty where any answer does."""


@dataclass(frozen=True)
class RunIdentity:
    """Which run it is, and on whose behalf it runs."""

    run_id: str
    tenant: str
    subject: str
    thread_id: str
    graph: str
    roles: list[str] | None = None
    """The roles of the caller that created it; None: the local developer's."""
    client: str = ""
    """The program through which that caller created it; empty where its token states none."""

    @property
    def created_thread(self) -> bool:
        """Whether the thread was created for the run."""
        return self.thread_id == own_thread(self.run_id)


@dataclass(frozen=True)
class RunRequest:
    """The request for a run. It never changes."""

    input: dict[str, Any] | None
    """None: the run continues from the thread's state."""
    created: datetime
    recursion_limit: int
    """0 in a request that states none, until `RunRequests.checked` sets that of the assistant or of the graph."""
    limits: Limits = field(default_factory=Limits)
    multitask: Multitask = Multitask.REJECT
    due: float = 0
    """The earliest time to begin, in seconds since 1970; 0: at once."""
    checkpoint_id: str = ""
    """The checkpoint of the thread to begin from; empty: the newest."""
    webhook_url: str = ""
    request_id: str = ""
    fingerprint: bytes = b""
    """SHA-256 of the request message; compared only where there is a request_id."""
    labels: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] | None = None
    """The context of the graph's nodes; None: its defaults."""
    configurable: dict[str, Any] | None = None
    """Keys for the `configurable` of the nodes' config."""
    breakpoints: dict[str, list[str]] | None = None
    """The nodes `before` and `after` which the run parks, besides the graph's own; "*": all."""
    stream_modes: list[str] | None = None
    """The values of `StreamMode` that its events have; None: `DEFAULT_MODES`."""

    @property
    def modes(self) -> Collection[StreamMode]:
        """The contents of its events."""
        return modes_of(self.stream_modes)

    assistant_id: str = ""
    """The assistant that has configured the run; empty for none."""
    assistant_version: int = 0
    schedule_id: str = ""
    """The schedule that has created the run; empty for none."""
    trace: str = ""
    """Its place in a trace, see `RunTrace`; empty where none was begun."""

    @property
    def is_delayed(self) -> bool:
        """Whether the run was to begin later than it was created."""
        return self.due > self.created.timestamp()


def modes_of(stored: Sequence[str] | None) -> Collection[StreamMode]:
    """Return the contents of events from `RunRequest.stream_modes`."""
    return DEFAULT_MODES if stored is None else [StreamMode(mode) for mode in stored]


@dataclass(frozen=True)
class RunState:
    """The state of a run. Workers write it under the run's epoch."""

    deadline: datetime
    status: RunStatus = RunStatus.PENDING
    output: dict[str, Any] | None = None
    error: bytes | None = None
    """A serialized google.rpc.Status."""
    started: datetime | None = None
    ended: datetime | None = None
    parked: datetime | None = None
    """Since when the run waits for answers. The deadline is extended by the time that it is parked."""
    cancel_reason: str = ""
    """Empty where no cancellation was requested."""
    holds_thread: bool = False
    """Whether the run has its thread; a run that waits for its time or its turn, or has ended, has not."""
    rolled_back: bool = False
    """Whether the run's writes are to be deleted before the next run on the thread begins."""
    epoch: Epoch = field(default_factory=Epoch)
    """Incremented with each claim. Every write for the run proves that its epoch is the current one."""
    takeovers: int = 0
    """The claims since the last checkpoint that followed an execution which was cut off, not released."""
    open_effects: dict[str, OpenEffect] = field(default_factory=dict)
    """The effects that may have happened, by their keys: in flight, or ended without a definite outcome."""
    graph_version: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    """Digests of the prompts and of the tools' contracts, by `prompts` and `tools`."""


@dataclass(frozen=True)
class Accounting:
    """The events and the resources that a run has used so far."""

    last_seq: int = 0
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Run:
    """A run of a graph on a thread."""

    identity: RunIdentity
    request: RunRequest
    state: RunState
    accounting: Accounting = field(default_factory=Accounting)

    @property
    def run_id(self) -> str:
        return self.identity.run_id

    @property
    def status(self) -> RunStatus:
        return self.state.status

    def seconds_left(self, now: datetime) -> float:
        """Return the time until the deadline: never negative, nor more than at first if the clock has jumped back."""
        return max(0.0, (self.state.deadline - max(now, self.request.created)).total_seconds())

    def with_state(self, **changes: Any) -> Self:
        """Return a copy with changed fields of `RunState`."""
        return replace(self, state=replace(self.state, **changes))


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come."""

    status: RunStatus
    last_seq: int


@dataclass(frozen=True)
class EventPage:
    """Events of a run in order, and how far the run had come when they were read."""

    batches: Sequence[EventBatch]
    progress: RunProgress | None
    """None where there is no such run."""


def own_thread(run_id: str) -> str:
    """Return the id of the thread that is created for a run whose caller names none."""
    return f"th_{run_id.removeprefix('run_')}"
