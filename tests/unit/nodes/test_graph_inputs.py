"""The input of a graph is checked as LangGraph takes it, by the channels of its input schema."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NotRequired

import pytest
from graphmesh_nodes.graph_inputs import MAX_RULE, GraphInput
from graphmesh_nodes.json_schemas import MAX_ERRORS
from langchain.agents import AgentState, create_agent
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AnyMessage, BaseMessage
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.managed import IsLastStep, RemainingSteps
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict


class Question(TypedDict):
    question: str


class Answered(Question):
    answer: str
    left: RemainingSteps
    last: IsLastStep


def append(left: list[str], right: str | list[str]) -> list[str]:
    return [*left, *(right if isinstance(right, list) else [right])]


class Order(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    order_id: str = Field(alias="orderId", pattern="^[0-9]+$")
    amount: int = Field(1, validation_alias=AliasChoices("amount", "total"), gt=0)
    messages: Annotated[list[AnyMessage], add_messages] = []
    notes: Annotated[list[str], append] = []

    @model_validator(mode="after")
    def _is_small(self) -> "Order":
        if self.order_id == "7" and self.amount > 5:
            raise ValueError("order 7 is small")
        return self


class Opaque:
    """A type without a JSON schema."""


def untyped(left, right):  # type: ignore[no-untyped-def]
    return right


@dataclass
class Notes:
    title: str
    notes: Annotated[list[str], append] = field(default_factory=list)
    lines: Annotated[list[str], operator.add] = field(default_factory=list)
    anything: Annotated[list[str], untyped] = field(default_factory=list)
    kept: list[BaseMessage] = field(default_factory=list)
    opaque: Opaque | None = None


class Dated(TypedDict):
    at: NotRequired[datetime]


def graph_of(state: Any, **schemas: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state, **schemas)
    builder.add_node("one", lambda state: {})
    return builder.add_edge(START, "one").add_edge("one", END)


def input_of(state: Any, **schemas: Any) -> GraphInput:
    return GraphInput(graph_of(state, **schemas))


ACCEPTED = [
    (MessagesState, {"messages": "hi"}),
    (MessagesState, {"messages": {"role": "user", "content": "hi"}}),
    (MessagesState, {"messages": [{"role": "user", "content": "hi"}, ["ai", "hello"], "text"]}),
    (MessagesState, {"messages": [{"type": "human", "content": [{"type": "text", "text": "hi"}]}]}),
    (MessagesState, {}),
    (Answered, {"question": "a"}),
    (Answered, {"answer": "a"}),
    (Order, {"order_id": "8"}),
    (Order, {"orderId": "8", "total": 6, "messages": "hi", "notes": "a"}),
    (Notes, {"title": "a"}),
    (Notes, {"title": "a", "notes": "b", "lines": ["c"], "anything": 3, "opaque": {}}),
    (Notes, {"title": "a", "notes": ["b"], "kept": [{"role": "user", "content": "hi"}]}),
    (Dated, {"at": "2026-03-01T00:00:00Z"}),
    (dict, {"whatever": [1]}),
]


@pytest.mark.parametrize(("state", "value"), ACCEPTED)
def test_what_langgraph_takes_is_accepted(state: Any, value: Mapping[str, Any]) -> None:
    given = input_of(state)
    assert given.violations(value, {}) == ()
    graph_of(state).compile().invoke(given.by_channel(value))


REFUSED = [
    (MessagesState, {"messages": [["user", "hi"], {"role": "usr", "content": "hi"}]}, {"input.messages[1]": "is no"}),
    (MessagesState, {"messages": {"role": "user"}}, {"input.messages": "must contain 'role' and 'content'"}),
    (MessagesState, {"message": "hi"}, {"input.message": "is not a known field"}),
    (Answered, {"question": 1}, {"input.question": "is not of type 'string'"}),
    (Answered, {"question": "a", "left": 3}, {"input.left": "is not a known field"}),
    (Order, {}, {"input.order_id": "is required"}),
    (Order, {"orderId": "x", "amount": 0}, {"input.order_id": "match", "input.amount": "greater than 0"}),
    (Order, {"orderId": "7", "order_id": "7"}, {"input.orderId": "is not a known field"}),
    (Order, {"orderId": "7", "amount": 6}, {"input": "order 7 is small"}),
    (Order, {"orderId": "7", "messages": [3]}, {"input.messages[0]": "is no message"}),
    (Order, {"orderId": "8", "notes": 3}, {"input.notes[0]": "should be a valid string"}),
    (Notes, {"lines": "c"}, {"input.title": "is required", "input.lines": "is not of type 'array'"}),
    (Notes, {"title": "a", "notes": 3}, {"input.notes": "is not valid under any"}),
]


@pytest.mark.parametrize(("state", "value", "expected"), REFUSED)
def test_anything_else_is_refused_by_its_field(state: Any, value: Mapping[str, Any], expected: dict[str, str]) -> None:
    found = {violation.field: violation.description for violation in input_of(state).violations(value, {})}
    assert found.keys() == expected.keys()
    assert all(expected[name] in found[name] for name in expected)


class Numbers(BaseModel):
    numbers: list[int] = []

    @model_validator(mode="before")
    @classmethod
    def _is_short(cls, value: Any) -> Any:
        if value == {"numbers": []}:
            raise ValueError("x" * 10_000)
        return value


@pytest.mark.parametrize(
    ("state", "value"),
    [(MessagesState, {"messages": [{"role": "unknown"}] * 1_000}), (Numbers, {"numbers": ["one"] * 1_000})],
)
def test_violations_are_bounded(state: Any, value: Mapping[str, Any]) -> None:
    """In number, and each in its length, whatever the value is."""
    found = input_of(state).violations(value, {})
    assert len(found) == MAX_ERRORS
    [clipped] = input_of(Numbers).violations({"numbers": []}, {})
    assert len(clipped.description) == MAX_RULE


def test_stored_fields_are_not_required() -> None:
    assert input_of(Order).violations({"amount": 2}, {"order_id": "8"}) == ()
    assert [found.field for found in input_of(Order).violations({"amount": 6}, {"order_id": "7"})] == ["input"]
    assert input_of(Notes).violations({}, {"title": "a"}) == ()


def test_update_has_any_part_of_the_state() -> None:
    update = GraphInput(graph_of(Order), is_update=True)
    assert update.violations({"total": 2}, {}, "values") == ()
    assert [found.field for found in update.violations({"amount": 6}, {"order_id": "7"}, "values")] == ["values"]
    assert [found.field for found in update.violations({"amount": "x", "y": 1}, {}, "values")] == ["values.y"]


def test_declared_input_requires_its_fields() -> None:
    """Unlike a state that is also the input, of which a caller need not give the results."""
    assert input_of(Answered).schema["required"] == []
    declared = input_of(Answered, input_schema=Question)
    assert declared.schema["required"] == ["question"]
    assert [found.field for found in declared.violations({}, {})] == ["input.question"]


def test_prebuilt_agent_requires_no_field() -> None:
    """All fields are required of the input type that create_agent makes from the state."""

    class Counted(AgentState[Any]):
        count: int

    agent = create_agent(FakeListChatModel(responses=["a"]), state_schema=Counted)
    assert GraphInput(agent.builder).violations({"messages": "hi"}, {}) == ()


@pytest.mark.parametrize(
    ("state", "names"),
    [(Answered, ["answer", "question"]), (Order, ["amount", "messages", "notes", "order_id"]), (dict, [])],
)
def test_schema_has_the_names_of_channels(state: Any, names: list[str]) -> None:
    assert sorted(input_of(state).schema["properties"]) == names


@pytest.mark.parametrize("reducer", [add_messages, add_messages(format="langchain-openai")])  # type: ignore[call-arg]
def test_options_of_add_messages_change_nothing(reducer: Callable[..., Any]) -> None:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], reducer]

    assert input_of(State).violations({"messages": ["hi"]}, {}) == ()
    assert input_of(State).violations({"messages": [1]}, {})
