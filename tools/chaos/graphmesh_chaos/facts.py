"""What the databases say after a trial, as values: what the checker judges. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

ENDED = "success"
"""The status of a run that did all it was to do."""
OPEN = ("pending", "running", "interrupted")
"""The statuses of a run that has not ended; `interrupted` is that of one that waits for an approval."""
APPROVED, DENIED = "approved", "denied"
"""The statuses of an approval that was answered."""
ASKED_FROM = 50_00
"""Minor units from which on a person has to agree to a charge."""
CHARGE, TICKET = "charge", "ticket"
"""The effects of every run, by the node of its graph."""


@dataclass(frozen=True)
class Order:
    """A run that was asked for, and what the callers were told."""

    request_id: str
    invoice_id: str
    customer_id: str
    amount: int
    answers: Sequence[str]
    """The run_id in each answer; empty where nobody was answered."""

    @property
    def asks(self) -> bool:
        """Whether a person has to agree to its charge."""
        return self.amount >= ASKED_FROM


@dataclass(frozen=True)
class Run:
    run_id: str
    request_id: str
    status: str
    charge_id: str
    """In its output; empty without one, which is right where somebody has said no."""
    ticket_id: str
    """In its output; empty without one."""
    last_seq: int
    epoch: int


@dataclass(frozen=True)
class Event:
    run_id: str
    seq: int
    time: datetime
    status: str
    """Empty where it does not tell the run's status."""


@dataclass(frozen=True)
class Invoice:
    invoice_id: str
    total: int
    outstanding: int


@dataclass(frozen=True)
class Charge:
    charge_id: str
    invoice_id: str
    amount: int


@dataclass(frozen=True)
class Posting:
    debit: str
    credit: str
    amount: int
    reference: str


@dataclass(frozen=True)
class Ticket:
    ticket_id: str
    customer_id: str


@dataclass(frozen=True)
class Effect:
    """The row of an idempotency key."""

    run_id: str
    node: str
    settled: bool
    """Whether a response is stored under the key."""
    approval_id: str = ""
    """With which it was called; empty without one."""


@dataclass(frozen=True)
class Epoch:
    """The highest epoch of a run that a service has seen."""

    service: str
    run_id: str
    epoch: int


@dataclass(frozen=True)
class Approval:
    """A question that a run has asked a person."""

    approval_id: str
    run_id: str
    status: str


@dataclass(frozen=True)
class Answer:
    """An answer to an approval of which its sender was told that it holds."""

    approval_id: str
    status: str


@dataclass(frozen=True)
class Facts:
    """All of it. Everything in the databases is the trial's own."""

    orders: Sequence[Order]
    runs: Sequence[Run]
    events: Sequence[Event]
    """In the order of run and seq."""
    invoices: Sequence[Invoice]
    charges: Sequence[Charge]
    postings: Sequence[Posting]
    tickets: Sequence[Ticket]
    effects: Sequence[Effect]
    epochs: Sequence[Epoch]
    approvals: Sequence[Approval]
    answers: Sequence[Answer]
