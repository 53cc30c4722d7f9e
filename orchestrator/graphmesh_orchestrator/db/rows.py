"""Rows of the orchestrator's tables, as the SQL stores and their memory twins read and write them."""

from datetime import datetime
from typing import Any, TypedDict


class RunColumns(TypedDict):
    """The columns of `runs` that make a `Run`."""

    run_id: str
    tenant: str
    subject: str
    thread_id: str
    graph: str
    roles: list[str] | None
    client: str
    input: dict[str, Any] | None
    created: datetime
    recursion_limit: int
    ceilings: dict[str, int]
    multitask: str
    due: float
    checkpoint_id: str
    webhook_url: str
    request_id: str
    fingerprint: bytes
    labels: dict[str, str]
    context: dict[str, Any] | None
    configurable: dict[str, Any] | None
    breakpoints: dict[str, list[str]] | None
    stream_modes: list[str] | None
    assistant_id: str
    assistant_version: int
    schedule_id: str
    trace: str
    status: str
    output: dict[str, Any] | None
    error: bytes | None
    started: datetime | None
    ended: datetime | None
    deadline: datetime
    parked: datetime | None
    cancel_reason: str
    holds_thread: bool
    rolled_back: bool
    epoch: int
    takeovers: int
    open_effects: dict[str, Any]
    graph_version: int
    versions: dict[str, str]
    last_seq: int
    usage: dict[str, int]


class RunRow(RunColumns):
    """A row of `runs`."""

    lease_owner: str
    lease_expires: float


class RunUpdate(TypedDict, total=False):
    """The columns of `runs` that an execution changes."""

    status: str
    output: dict[str, Any] | None
    output_blocks: dict[str, list[str]] | None
    error: bytes | None
    started: datetime | None
    ended: datetime | None
    parked: datetime | None
    holds_thread: bool
    takeovers: int
    open_effects: dict[str, Any]
    last_seq: int
    graph_version: int
    versions: dict[str, str]
    usage: dict[str, int]


class EventRow(TypedDict):
    """A row of `run_events`."""

    run_id: str
    last_seq: int
    kinds: bytes
    data: bytes


class ThreadRow(TypedDict):
    """A row of `threads`."""

    tenant: str
    thread_id: str
    graph: str
    labels: dict[str, str]
    created: datetime
    used: datetime
    ttl_seconds: float


class InterruptRow(TypedDict):
    """A row of `interrupts`, but for `expires`, which the database's clock and `ttl` make."""

    run_id: str
    interrupt_id: str
    tenant: str
    node: str
    value: Any
    created: datetime
    status: str
    answer: dict[str, Any] | None
    answered: datetime | None
    answered_by: str
    comment: str
    approval_id: str | None
    approval: dict[str, Any] | None
    ttl: float
    """Seconds until the approval expires; 0: never."""


class DeliveryRow(TypedDict):
    """A row of `deliveries`."""

    delivery_id: str
    tenant: str
    run_id: str
    url: str
    host: str
    created: datetime
    next_attempt: float
    status: str
    attempts: int
    last_error: str
    delivered: datetime | None


class ArtifactRow(TypedDict):
    """A row of `artifacts`."""

    thread_id: str
    name: str
    media_type: str
    stamp: int
    base: str | None
    data: bytes
