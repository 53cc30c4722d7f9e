"""The state of the support agent.

It contains no name, address or secret of a customer, except for those in the customer's own message.
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
"""The reason for which a person takes over a request."""


class Line(TypedDict):
    """A line of an invoice; amounts here and below are minor units."""

    line_id: str
    description: str
    quantity: int
    amount: int
    """Of all items."""


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
    """The customer's account, without personal data."""

    known: bool
    """False if the CRM has no such customer."""
    tier: str


class ClaimedLine(TypedDict):
    """Items of a line that the customer wants to have refunded."""

    line_id: str
    quantity: int
    amount: int


class RefundClaim(TypedDict):
    """A refund that the customer requests."""

    invoice_id: str
    charge_id: str
    lines: list[ClaimedLine]
    currency: str
    cause: Cause


class Terms(TypedDict):
    """What billing said of a claim: on these terms the refund is requested."""

    refunded: int
    """What was refunded of the charge before."""
    needs_approval: bool
    attempt: int
    """The number of the preview, from 1."""


class Passage(TypedDict):
    """Untrusted text of a knowledge article."""

    document_id: str
    title: str
    text: str
    relevance: float
    """From 0 to 1, as `relevance.relevance` rates it."""


def merge_notes(before: list[str], more: list[str]) -> list[str]:
    """Merge the notes of parallel nodes: each once, in the order of arrival."""
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
    """One of the intents in the classify prompt."""
    confidence: float
    """Confidence in the answer, or else in the category, from 0 to 1."""
    ticket_id: str | None
    refund_id: str | None
    sources: list[str]
    """Ids of the articles, or of the customer's orders, that the answer quotes."""
    notes: Annotated[list[str], merge_notes]
    """Failures, in sentences for customers and staff."""


class State(Request, Response):
    """The state of a run. None means not read yet, or that the service is down."""

    received: str
    """Time of the request as ISO 8601. Policies use it as the current time, so that a repeated task decides alike."""
    prompts: dict[str, str]
    """The version of each prompt."""
    cause: Cause
    account: Account | None
    orders: list[Order] | None
    invoices: list[Invoice] | None
    passages: list[Passage] | None
    claim: RefundClaim | None
    terms: Terms | None
    checks: Annotated[dict[str, bool], operator.or_]
    """The checks of policies and drafts by name, and whether each passed."""
    reason: Reason | None
    """Set as soon as a person has to take over."""
