"""The state of the analyst."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

Outcome = Literal["", "answered", "clarify", "refused", "unavailable"]
Cell = str | float | int | bool | None


class Request(TypedDict):
    """The input of a run."""

    message: Annotated[str, Field(min_length=1, max_length=20_000, description="the question")]


class Response(TypedDict):
    """The output of a run."""

    answer: str
    outcome: Outcome
    query: str
    """The SQL that was run; empty where none was."""
    explanation: str
    """The computation of the query, by tables and columns."""
    columns: list[str]
    rows: list[list[Cell]]
    unit: str
    chart: dict[str, Any] | None
    """A Vega-Lite specification with its data; None where the rows have no chart."""
    cached: bool
    preaggregated: bool
    notes: list[str]
    """Remarks about the numbers, and failures."""


class State(Request, Response):
    """The state of a run, and of the thread: its last answer is mentioned where the database is away."""

    text: str
    """The question of this run, without markup and invisible characters."""
    language: str
    prompts: dict[str, str]
    policy_version: str
    parameters: list[str | float]
    is_single: bool
    is_ranked: bool
    has_period: bool
    is_offline: bool
    """Whether the model is the offline composer, or could not be reached."""
    asked: str
    """The question that could not be answered without the next message of the thread; empty for none."""
    reason: str
    """The key of the reply to it."""
    last_answer: str
    last_time: str
    """When the last answer of the thread was computed, ISO 8601; empty for none."""
