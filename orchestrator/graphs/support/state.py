"""The state of the support agent.

No name, address or secret of a customer is in it, besides what they write themselves.
"""

import operator
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

Cause = Literal["damaged", "wrong", "missing", "none"]
Outcome = Literal["answered", "refunded", "escalated"]


Reason = Literal[
    "unreadable",
    "unknown_customer",
    "person_wanted",
    "refund_not_automatic",
    "billing_down",
    "refund_uncertain",
    "refund_denied",
    "knowledge_down",
    "model_down",
    "unsure",
]
"""Why a request goes to a person."""


class Line(TypedDict):
    """A line of an invoice; amounts here and below are minor units."""

    description: str
    amount: int


class Invoice(TypedDict):
    invoice_id: str
    currency: str
    total: int
    paid: bool
    issued: str
    """ISO 8601."""
    charge_ids: list[str]
    lines: list[Line]


class Order(TypedDict):
    order_id: str
    title: str
    status: str


class Account(TypedDict):
    """What is known of the customer."""

    known: bool
    """False: the CRM has no such customer."""
    tier: str


class Claim(TypedDict):
    """A refund that the customer asks for."""

    invoice_id: str
    charge_id: str
    amount: int
    currency: str
    cause: Cause


class Passage(TypedDict):
    """Untrusted text out of the knowledge articles."""

    document_id: str
    title: str
    text: str
    relevance: float
    """From 0 to 1, as `relevance.py` reckons it."""


def noted(before: list[str], more: list[str]) -> list[str]:
    """Notes of parallel nodes, each once, in the order in which they came."""
    return list(dict.fromkeys([*before, *more]))


class Request(TypedDict):
    """The input of a run."""

    customer_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="as the CRM has it")]
    message: Annotated[str, Field(min_length=1, max_length=20_000, description="what the customer writes")]


class Response(TypedDict):
    """The output of a run."""

    answer: str
    """To the customer."""
    outcome: Outcome
    category: str
    """The intent: one of those in the classify prompt."""
    confidence: float
    """From 0 to 1: how sure the agent is; of its answer, or else of the category."""
    ticket_id: str | None
    refund_id: str | None
    sources: list[str]
    """The ids of the articles, or of the customer's orders, that the answer is made of."""
    notes: Annotated[list[str], noted]
    """What did not work, in words for customer and staff alike."""


class State(Request, Response):
    """Everything that a run knows. None: not known yet, or the service that knows it is down."""

    received: str
    """When, as ISO 8601: the instant that policies reckon from, the same in every repetition."""
    prompts: dict[str, str]
    """The version of each prompt."""
    cause: Cause
    account: Account | None
    orders: list[Order] | None
    invoices: list[Invoice] | None
    passages: list[Passage] | None
    claim: Claim | None
    checks: Annotated[dict[str, bool], operator.or_]
    """Each check of policies and drafts, and whether it passed (I4)."""
    reason: Reason | None
    """Set as soon as it is clear that a person has to take over."""
