"""The state of the tool-using agent."""

from typing import Annotated, Literal

from graphmesh_nodes import bounded_messages
from langchain_core.messages import AnyMessage
from pydantic import Field
from typing_extensions import TypedDict

MAX_MESSAGES = 60
"""Messages of a thread that are kept, results of tools among them."""

Outcome = Literal["answered", "changed", "escalated"]
Reason = Literal["emergency", "uncertain", "unchecked", "unanswered"]
"""The reason for which a person takes over."""


class Request(TypedDict):
    """The input of a run."""

    customer_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="as the CRM has it")]
    message: Annotated[str, Field(min_length=1, max_length=20_000, description="what the customer writes")]


class Response(TypedDict):
    """The output of a run."""

    answer: str
    """To the customer."""
    outcome: Outcome
    """`changed`: an effect that the customer has confirmed was made."""
    ticket_id: str
    """Of the ticket with which the request was handed over; empty where it was not."""
    sources: list[str]
    """Ids of the articles that the answer quotes without a model."""
    notes: list[str]
    """Failures, for staff."""


class State(Request, Response):
    messages: Annotated[list[AnyMessage], bounded_messages(MAX_MESSAGES)]
    reason: Reason | None
    """Set as soon as a person has to take over."""
    topic: str
    """Of an emergency, by which ticketing chooses the queue."""
