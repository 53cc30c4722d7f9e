"""The context of a graph's nodes is checked against its context_schema before a run begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired

import pytest
from graphmesh_nodes.errors import InvalidRequest
from graphmesh_nodes.graph_contexts import GraphContext, configurable_violations, configurable_with
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Who(TypedDict):
    name: str


class Tone(TypedDict):
    tone: str
    loud: NotRequired[bool]


@dataclass
class Words:
    tone: str = "hello"


class Opaque:
    """A type without a JSON schema."""


@dataclass
class Tools:
    opaque: Opaque
    tone: str = "hello"


class Model(BaseModel):
    tone: str = Field(min_length=2)


def graph_of(context_schema: Any) -> StateGraph[Any, Any, Any, Any]:
    def greet(state: Who, runtime: Runtime[Any]) -> dict[str, Any]:
        context = runtime.context
        tone = context.get("tone", "no") if isinstance(context, dict) else context.tone if context else "no"
        return {"name": f"{tone} {state['name']}"}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Who, context_schema=context_schema)
    builder.add_node("greet", greet)
    return builder.add_edge(START, "greet")


@pytest.mark.parametrize(
    ("schema", "context", "greeting"),
    [
        (Tone, {"tone": "dear"}, "dear x"),
        (Words, {"tone": "dear"}, "dear x"),
        (Words, None, "hello x"),
        (Model, {"tone": "dear"}, "dear x"),
        (Tone, None, "no x"),
        (None, None, "no x"),
    ],
)
async def test_nodes_have_the_context(schema: Any, context: Mapping[str, Any] | None, greeting: str) -> None:
    result = await GraphHarness(graph_of(schema)).run({"name": "x"}, context=context)
    assert result.values == {"name": greeting}


@pytest.mark.parametrize(
    ("schema", "context", "field", "rule"),
    [
        (Tone, {}, "context.tone", "is required"),
        (Tone, {"tone": 1}, "context.tone", "is not of type 'string'"),
        (Tone, {"tone": "dear", "colour": "red"}, "context.colour", "is not a known field"),
        (Words, {"colour": "red"}, "context.colour", "is not a known field"),
        (Words, {"tone": 1}, "context.tone", "is not of type 'string'"),
        (Model, None, "context.tone", "is required"),
        (Model, {"tone": "d"}, "context.tone", "at least 2"),
        (Tools, None, "context.opaque", "is required"),
        (Tools, {"opaque": 1, "colour": "red"}, "context.colour", "is not a known field"),
        (None, {"tone": "dear"}, "context", "has no context_schema"),
    ],
)
async def test_other_contexts_are_refused_by_their_field(schema: Any, context: Any, field: str, rule: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await GraphHarness(graph_of(schema)).run({"name": "x"}, context=context)
    assert [violation.field for violation in refused.value.violations] == [field]
    assert rule in refused.value.violations[0].description


def test_schema_is_published() -> None:
    assert GraphContext(graph_of(Tone).compile()).schema["required"] == ["tone"]
    assert GraphContext(graph_of(None).compile()).schema == {}


def test_keys_of_langgraph_are_not_configurable() -> None:
    given = {"thread_id": "x", "checkpoint_ns": "", "__pregel_send": 1, "user": "ada"}
    fields = [violation.field for violation in configurable_violations(given)]
    assert fields == ["configurable.thread_id", "configurable.checkpoint_ns", "configurable.__pregel_send"]


def test_context_is_in_the_configurable_without_keys_of_langgraph() -> None:
    context = {"tone": "dear", "user": "ada", "checkpoint_id": "1", "__pregel_send": "x"}
    assert configurable_with(context, {"user": "bob"}) == {"tone": "dear", "user": "bob"}
    assert configurable_with(None, None) == {}
