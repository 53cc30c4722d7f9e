"""Graphs that call services by descriptor sets, with no code of theirs, have the rules of every graph."""

import json
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from graphmesh_contracts import ContractError
from graphmesh_nodes import GraphmeshChatModel, service, tools
from graphmesh_nodes.testing import GraphHarness
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage

from tests.shipping.contract import NAME, contract

REQUEST = {"order_id": "o_1", "city": "Riga"}


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module of the graphs, imported with the mesh's descriptor sets."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / f"{NAME}.binpb").write_bytes(contract())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHMESH_DESCRIPTOR_SETS", str(folder))
        return import_module("tests.shipping.graph")


def served(shipping: ModuleType, graph: Any) -> GraphHarness:
    """A harness with twins of the service."""
    handles = shipping.ShippingService
    harness = GraphHarness(graph)
    parcel = {"parcel_id": "pa_1", "shipped": datetime(2026, 11, 30, tzinfo=UTC)}
    harness.serve(handles.Ship, lambda request: handles.Ship.response(parcel=parcel))
    harness.serve(handles.Recall, lambda request: handles.Recall.response())
    harness.serve(handles.ListParcels, lambda request: handles.ListParcels.response(parcels=[{"parcel_id": "pa_1"}]))
    harness.serve(handles.Track, lambda request: [handles.Track.response(city=city) for city in ("Riga", "Tartu")])
    return harness


async def test_effects_reads_and_streams(shipping: ModuleType) -> None:
    """An effect has a key, and only the scopes of its policy; a repeat after a lost response has the same key."""
    handles = shipping.ShippingService
    harness = served(shipping, shipping.graph)
    harness.lose_response(handles.Ship, times=1)
    result = await harness.run(REQUEST)
    assert result.output["parcel_id"] == "pa_1"
    assert result.output["shipped"] == "2026-11-30T00:00:00Z"
    assert (result.output["parcels"], result.output["places"]) == (["pa_1"], ["Riga", "Tartu"])
    first, second = harness.calls(handles.Ship)
    assert first.effect_key == second.effect_key != ""
    assert first.headers["x-graphmesh-scopes"] == "shipping.write"
    assert len(harness.executed(handles.Ship)) == 1
    assert harness.calls(handles.ListParcels)[0].effect_key == ""


async def test_a_call_that_needs_an_approval_parks_the_run(shipping: ModuleType) -> None:
    handles = shipping.ShippingService
    harness = served(shipping, shipping.recall)
    result = await harness.run({"parcel_id": "pa_1"})
    [approval] = result.approvals
    assert (approval.tool, approval.arguments) == ("shipping.Recall", {"parcel_id": "pa_1"})
    assert approval.scopes == ["approvals.shipping"]
    assert harness.calls(handles.Recall) == []
    await harness.approve(approval)
    [call] = harness.calls(handles.Recall)
    assert call.approval_id


async def test_a_bad_request_is_refused_with_its_field(shipping: ModuleType) -> None:
    harness = served(shipping, shipping.graph)
    result = await harness.run({**REQUEST, "order_id": "o" * 41})
    assert "order_id" in str(result.error.violations)  # type: ignore[union-attr]
    assert harness.executed(shipping.ShippingService.Ship) == []


async def test_an_agent_has_the_tools_of_the_service(shipping: ModuleType) -> None:
    harness = served(shipping, create_agent(GraphmeshChatModel(), tools(shipping.ShippingService)))
    arguments = {"order_id": "o_1", "to": {"city": "Riga"}, "speed": "SPEED_FAST"}
    calls = [{"name": "shipping_Ship", "args": arguments, "id": "one"}]
    harness.model_replies(AIMessage("", tool_calls=calls), "It is on its way.")
    result = await harness.run({"messages": [{"role": "user", "content": "Ship it."}]})
    assert result.error is None
    [answer] = [one for one in result.state["messages"] if isinstance(one, ToolMessage)]
    assert json.loads(str(answer.content))["parcel"]["parcel_id"] == "pa_1"
    [call] = harness.executed(shipping.ShippingService.Ship)
    assert call.effect_key


def test_a_graph_with_an_unknown_rpc_or_field_is_not_imported(
    shipping: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AttributeError, match=f"{NAME} has no RPC Shipp; it has Ship"):
        _ = shipping.ShippingService.Shipp
    with pytest.raises(ValueError, match='no "order" field'):
        shipping.ShippingService.Ship.request(order="o_1")
    monkeypatch.setenv("GRAPHMESH_DESCRIPTOR_SETS", str(tmp_path))
    with pytest.raises(ContractError, match=f"{NAME}.binpb does not exist"):
        service(NAME)
