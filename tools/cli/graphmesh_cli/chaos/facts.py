"""What the databases say after a trial, as values: what the checker judges. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

ENDED = "success"
"""The status of a run that did all it was to do."""
ACTIVE = ("pending", "running")
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


@dataclass(frozen=True)
class Run:
    run_id: str
    request_id: str
    status: str
    charge_id: str
    """In its output; empty without one."""
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


@dataclass(frozen=True)
class Epoch:
    """The highest epoch of a run that a service has seen."""

    service: str
    run_id: str
    epoch: int


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
