"""The history of an experiment, which the checker judges: responses that clients got, and rows of the databases."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from graphmesh.orchestrator.v1 import RunEvent
from graphmesh_client.run_status import status_name
from graphmesh_nodes.approval_terms import ApprovalStatus
from graphmesh_orchestrator.run_status import RunStatus

from graphmesh_chaos.late_effects import NO_COMMITS, Commits
from graphmesh_chaos.operations import Operation

APPROVAL_THRESHOLD = 50_00
"""Minor units; a charge of this amount or more needs an approval."""
CHARGE, TICKET = "charge", "ticket"
"""The effects of every run, by the node of its graph."""
DRAFT = "draft"
"""The node of an effect that a run may have or not: no later execution repeats it."""


@dataclass(frozen=True)
class RunRequest:
    """A request for a run, and the responses to it."""

    request_id: str
    invoice_id: str
    customer_id: str
    amount: int
    """In minor units."""
    run_ids: Sequence[str]
    """The run_id of each response; empty if no copy of the request got one."""
    thread_id: str = ""
    """The thread of the session that the run belongs to; empty where the run has a thread of its own."""
    ends: Sequence[RunStatus] = (RunStatus.SUCCESS,)
    """The statuses with which the run may end."""

    @property
    def needs_approval(self) -> bool:
        return self.amount >= APPROVAL_THRESHOLD


@dataclass(frozen=True)
class Run:
    """A row of the orchestrator."""

    run_id: str
    request_id: str
    status: RunStatus
    charge_id: str
    """From its output; empty if it has none, which is right only after a denial."""
    ticket_id: str
    """From its output; empty if it has none."""
    last_seq: int
    epoch: int
    answer: str = ""
    """From its output: the answer to its question."""


@dataclass(frozen=True)
class Event:
    """An event of a run, as the orchestrator stores it."""

    run_id: str
    seq: int
    time: datetime
    status: RunStatus | None
    """The new status of the run; None for all other events."""
    effect_key: str = ""
    """The key of an effect that the run reports as one that may have happened; empty for all other events."""
    has_response: bool = False
    """Whether the run reports that effect as one that has happened."""
    node: str = ""
    is_node_start: bool = False
    is_indexed: bool = True
    """Whether its row states its number and its kind: by them streams resume and leave events out."""


@dataclass(frozen=True)
class ReceivedEvent:
    """An event of a run, as a client received it."""

    run_id: str
    seq: int
    time: datetime
    node: str
    status: RunStatus | None


@dataclass(frozen=True)
class Invoice:
    """A row of billing. Amounts are in minor units."""

    invoice_id: str
    total: int
    outstanding: int


@dataclass(frozen=True)
class Charge:
    """A row of billing."""

    charge_id: str
    invoice_id: str
    amount: int


@dataclass(frozen=True)
class Posting:
    """A row of billing's ledger."""

    debit: str
    credit: str
    amount: int
    reference: str
    """The id of the invoice or of the charge."""


@dataclass(frozen=True)
class JournalEntry:
    """A row of billing's journal, from which statements are made."""

    kind: str
    amount: int
    reference: str
    """The id of the invoice or of the charge."""
    invoice_id: str


@dataclass(frozen=True)
class Ticket:
    """A row of ticketing."""

    ticket_id: str
    customer_id: str


@dataclass(frozen=True)
class Effect:
    """The row of an idempotency key."""

    run_id: str
    node: str
    has_response: bool
    """Whether a response is stored under the key."""
    approval_id: str = ""
    """The approval that came with the call; empty without one."""
    key: str = ""
    """The idempotency key."""


@dataclass(frozen=True)
class Epoch:
    """The highest epoch of a run that a service has accepted."""

    service: str
    run_id: str
    epoch: int


@dataclass(frozen=True)
class Approval:
    """A row of the orchestrator."""

    approval_id: str
    run_id: str
    status: ApprovalStatus


@dataclass(frozen=True)
class Answer:
    """An approver's answer that the orchestrator acknowledged as the one that counts."""

    approval_id: str
    status: ApprovalStatus


@dataclass(frozen=True)
class Resumption:
    """An answer to the question of a run that the orchestrator acknowledged."""

    request_id: str
    answer: str


@dataclass(frozen=True)
class Observed:
    """What the clients of sessions got."""

    operations: Sequence[Operation] = ()
    received: Sequence[ReceivedEvent] = ()
    resumptions: Sequence[Resumption] = ()
    defects: Sequence[str] = ()
    """Errors that no call of a client may cause."""


NOTHING_OBSERVED = Observed()


@dataclass(frozen=True)
class History:
    """Every row belongs to the experiment: it has databases of its own."""

    requests: Sequence[RunRequest]
    runs: Sequence[Run]
    events: Sequence[Event]
    """Ordered by run and seq."""
    invoices: Sequence[Invoice]
    charges: Sequence[Charge]
    postings: Sequence[Posting]
    entries: Sequence[JournalEntry]
    tickets: Sequence[Ticket]
    effects: Sequence[Effect]
    epochs: Sequence[Epoch]
    approvals: Sequence[Approval]
    answers: Sequence[Answer]
    observed: Observed = NOTHING_OBSERVED
    commits: Commits = NO_COMMITS


def status_of(event: RunEvent) -> RunStatus | None:
    """The status that an event states; None for all other events."""
    return RunStatus(status_name(event.status_changed.status)) if event.HasField("status_changed") else None
