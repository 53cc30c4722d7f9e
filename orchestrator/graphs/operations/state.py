"""The state of the operations agent."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Record = Literal["customer", "ticket"]
Outcome = Literal["", "applied", "undone", "unchanged", "declined", "refused", "clarify", "unavailable", "escalated"]
ItemStatus = Literal[
    "pending", "applied", "unchanged", "missing", "conflict", "denied", "forbidden", "refused", "failed", "uncertain"
]

Text = Annotated[str, Field(max_length=500)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Change(TypedDict):
    """A change in its structured form: new values of fields of some records."""

    record: Record
    ids: NotRequired[Annotated[list[Id], Field(max_length=500, description="the records")]]
    where: NotRequired[Annotated[dict[str, Text], Field(max_length=5, description="or the filters that select them")]]
    set: Annotated[dict[str, Text], Field(min_length=1, max_length=20, description="the new values by field")]


class Item(TypedDict):
    """One record of a change."""

    id: str
    version: int
    """The version that the difference was made from."""
    before: dict[str, str]
    after: dict[str, str]
    status: ItemStatus
    version_after: int
    """The version that the change has made; 0 before."""


class Request(TypedDict, total=False):
    """The input of a run: one of the three."""

    message: Annotated[str, Field(max_length=20_000, description="what is to be changed, in words")]
    change: Annotated[Change | None, Field(description="what is to be changed, by fields")]
    undo: Annotated[str | None, Field(max_length=64, description="the id of a change that is to be undone")]


class Response(TypedDict):
    """The output of a run."""

    answer: str
    outcome: Outcome
    change_id: str
    """The id by which the change can be undone; empty where nothing was applied."""
    items: list[Item]
    notes: list[str]
    """Failures, in sentences for staff."""


class State(Request, Response):
    """The state of a run, and of the thread: its last change can be undone in the next run."""

    text: str
    """The message, change and undo of the run that is under way: a thread would keep those of earlier runs."""
    form: Change | None
    undo_of: str
    language: str
    prompts: dict[str, str]
    policy_version: str
    record: Record
    plan: Change | None
    """The change that was understood and is permitted."""
    undoes: str
    """The id of the change that this one undoes; empty for none."""
    attempt: int
    """How often the records have been read."""
    decision: Literal["", "accepted", "declined", "message"]
    turns: int
    """Messages in this run."""
    last_change: str
    """The id of the last change of the thread; empty for none."""
    ticket_id: str
    """The ticket about what could not be verified; empty for none."""
