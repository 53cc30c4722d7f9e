"""The state of the support agent: typed dictionaries, so that it is stored as plain JSON.

It contains no name, address or secret of a customer, except for those in the customer's own message.
"""

import operator
from typing import Annotated, Literal

from graphmesh_nodes import bounded_messages
from langchain_core.messages import AnyMessage
from pydantic import Field
from typing_extensions import TypedDict

MAX_MESSAGES = 40
"""Messages of a conversation that the state keeps, the newest."""

Act = Literal["asks_for", "asks_about", "tells", "thanks", "other"]
Cause = Literal["damaged", "wrong", "missing", "late", "charged_twice", "none"]
Category = Literal["refund", "refund_status", "order", "question", "thanks", "person", "emergency", "other"]
Outcome = Literal["answered", "refunded", "declined", "clarify", "escalated"]
Reason = Literal[
    "emergency",
    "unknown_customer",
    "person_wanted",
    "language",
    "request",
    "refund_not_automatic",
    "order_unknown",
    "charged_twice",
    "records_down",
    "billing_down",
    "refund_uncertain",
    "refund_denied",
    "knowledge_down",
    "model_down",
    "unsure",
    "too_many_turns",
]
"""The reason for which a person takes over a request."""
Awaited = Literal["invoice", "line", "cause", "wish", "hand_over"]
"""What the agent has asked the customer for."""
Step = Literal["hand_over", "finish", "preview", "refund_status", "draft"]


class Line(TypedDict):
    """A line of an invoice; amounts here and below are minor units."""

    line_id: str
    description: str
    quantity: int
    amount: int
    """Of all items."""
    returned: int
    """Items that were refunded or credited."""
    refunded: int
    """What was refunded or credited of the amount."""


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
    invoice_id: str
    """Empty where the record names none."""
    title: str
    status: str


class Account(TypedDict):
    """The customer's account, without personal data."""

    known: bool
    """False if the CRM has no such customer."""
    tier: str
    language: str
    """Preferred, BCP 47; empty where unknown."""


class Understanding(TypedDict):
    """What a message means, as far as it is certain."""

    language: str
    """BCP 47; empty where unknown."""
    act: Act
    topic: Category
    """As a model reports it; `other` where none has."""
    wants_money: bool
    """Whether money is requested, so that a refund may be proposed."""
    negated: bool
    cause: Cause
    confidence: float
    query: str
    """The question, to search the articles by."""
    quotes: list[str]
    """The items or amounts that are claimed, in the words of the message."""


class ClaimedLine(TypedDict):
    """Items of a line that the customer wants to have refunded."""

    line_id: str
    description: str
    quantity: int
    amount: int


class Claim(TypedDict):
    """A refund that the customer requests, as the records support it."""

    invoice_id: str
    charge_id: str
    order_id: str
    lines: list[ClaimedLine]
    currency: str
    amount: int
    cause: Cause


class Option(TypedDict):
    """A choice that a clarifying question offers."""

    invoice_id: str
    line_id: str
    """Empty for a choice of invoices."""
    quantity: int


class Pending(TypedDict):
    """A question that the agent has put to the customer, and what it was about."""

    awaits: Awaited
    message: str
    """The messages that led to it."""
    cause: Cause
    options: list[Option]
    """In the order in which they were listed."""


class Terms(TypedDict):
    """Billing's answer to a preview of a claim."""

    refunded: int
    """The amount refunded of the charge before."""
    needs_approval: bool
    attempt: int
    """The number of the preview, from 1."""


class Passage(TypedDict):
    """Untrusted text of a knowledge article."""

    document_id: str
    title: str
    text: str
    score: float
    """How well it matches the question, from 0 to 1."""


class Citation(TypedDict):
    """A sentence of the answer, and the passage that supports it."""

    document_id: str
    title: str
    """Of the article, with the headings above the passage."""
    sentence: str


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
    category: Category
    confidence: float
    """Confidence in the answer, or else in the understanding of the message, from 0 to 1."""
    ticket_id: str | None
    refund_id: str | None
    sources: list[str]
    """Ids of the articles, or of the customer's orders and invoices, that the answer is based on."""
    citations: list[Citation]
    """Each sentence that was taken from an article, with the passage that supports it."""
    notes: Annotated[list[str], merge_notes]
    """Parts that were not available, in sentences for customers and staff."""
    language: str
    """Of the answer, BCP 47."""


class State(Request, Response):
    """The state of a run. None means not read yet, or that the service is down."""

    messages: Annotated[list[AnyMessage], bounded_messages(MAX_MESSAGES)]
    """The conversation."""
    pending: Pending | None
    """Survives the run: the next message of the thread may answer it."""
    policy: str
    """The tenant's policy as of the beginning of the run, as JSON, so that a repeated task decides alike."""
    prompts: dict[str, str]
    """The version of each prompt, and of the policy."""
    clarifications: int
    """Questions that the agent has put to the customer one after the other; survives the run."""
    turn: int
    """The number of the message in the run: a proposal may be answered by a further message."""
    follows: Pending | None
    """The question of the agent that this message answers."""
    is_yes: bool
    """Whether the message is a yes to `follows`."""
    understanding: Understanding
    emergency: str
    """The topic; empty for none."""
    account: Account | None
    orders: list[Order] | None
    invoices: list[Invoice] | None
    passages: list[Passage] | None
    claim: Claim | None
    terms: Terms | None
    accepted: str
    """The id of the proposal that the customer has accepted."""
    model: Literal["real", "offline", "down"]
    """What judges: only a language model's judgement is used."""
    faults: list[str]
    """What validation found in the last draft."""
    drafts: int
    checks: Annotated[dict[str, bool], operator.or_]
    """The checks of claims and drafts by name, and whether each passed."""
    step: Step | None
    """The branch that a turn takes; None before that is decided."""
    reason: Reason | None
    """Set as soon as a person has to take over."""
