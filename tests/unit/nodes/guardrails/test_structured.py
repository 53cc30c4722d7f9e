"""A model's value is validated here, whatever the service or a vendor has validated."""

import asyncio
from typing import Any, Literal

import pytest
from graphmesh.model.v1 import ModelService
from graphmesh_nodes import GraphmeshChatModel
from graphmesh_nodes.errors import Aborted, ProviderUnavailable, TokenLimit
from graphmesh_nodes.guardrails.structured import structured
from graphmesh_nodes.testing import GraphHarness, RunResult
from graphmesh_nodes.testing.model_twin import Reply
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict


class Intent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    act: Literal["asks", "tells"]
    confidence: float = Field(ge=0, le=1)


SCHEMA = {
    "title": "Sum",
    "type": "object",
    "properties": {"sum": {"type": "integer", "maximum": 9}},
    "required": ["sum"],
    "additionalProperties": False,
}


class State(TypedDict, total=False):
    found: Any


def harness_for(schema: Any) -> GraphHarness:
    async def ask(state: State) -> dict[str, Any]:
        value, is_offline = await structured(GraphmeshChatModel(), schema, [HumanMessage("Sort this")])
        return {"found": (value.model_dump() if isinstance(value, BaseModel) else value, is_offline)}

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return GraphHarness(builder)


async def _result(schema: Any, reply: Reply, *, offline: bool = False) -> RunResult:
    harness = harness_for(schema)
    harness.model_replies(reply, offline=offline)
    return await harness.run({})


@pytest.mark.parametrize("offline", [False, True])
async def test_returns_a_valid_value_and_whether_it_is_offline(offline: bool) -> None:
    value = {"act": "asks", "confidence": 0.5}
    result = await _result(Intent, value, offline=offline)
    assert result.output == {"found": (value, offline)}
    assert result.text == ""


async def test_takes_a_json_schema() -> None:
    assert (await _result(SCHEMA, {"sum": 4})).output == {"found": ({"sum": 4}, False)}


@pytest.mark.parametrize(
    ("schema", "reply"),
    [
        (Intent, "Certainly! Here it is."),
        (Intent, ""),
        (Intent, "[]"),
        (Intent, "null"),
        (Intent, '{"act": "asks", "confidence": 0.5'),
        (Intent, {"act": "pays", "confidence": 0.5}),
        (Intent, {"act": "asks", "confidence": 7}),
        (Intent, {"act": "asks"}),
        (Intent, {"act": "asks", "confidence": 0.5, "recipient": "cu_1"}),
        (Intent, "[" * 100_000),
        (SCHEMA, {"sum": 10}),
        (SCHEMA, {"sum": 1, "customer": "cu_1"}),
        (SCHEMA, "9"),
    ],
    ids=range(13),
)
async def test_returns_none_for_output_that_does_not_fit(schema: Any, reply: Reply) -> None:
    assert (await _result(schema, reply)).output == {"found": (None, False)}


@pytest.mark.parametrize(("model", "offline"), [("gpt-5", False), ("offline-extractive-1", True)])
async def test_returns_none_where_the_service_refuses_the_output(model: str, offline: bool) -> None:
    harness = harness_for(Intent)
    refused = Aborted(model=model)
    refused.reason = "OUTPUT_INVALID"
    harness.fail(ModelService, refused)
    assert (await harness.run({})).output == {"found": (None, offline)}


@pytest.mark.parametrize("error", [ProviderUnavailable(provider="twin"), TokenLimit(used=9, limit=8)])
async def test_failures_reach_the_node(error: Exception) -> None:
    harness = harness_for(Intent)
    harness.fail(ModelService, error)  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        assert type((await harness.run({})).error) is type(error)
