"""The most effects of a run: each counts once, and one more is refused before it is sent."""

from typing import Any

import pytest
from graphmesh.ticketing.v1 import CreateTicketRequest, CreateTicketResponse, Ticket, TicketingService
from graphmesh_nodes import ApprovalRequest, Limits, call
from graphmesh_nodes.errors import EffectLimit
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    opened: int


def graph_of(nodes: int, *, approval: ApprovalRequest | None = None) -> StateGraph[State, None, State, State]:
    """Return a graph of which each node opens a ticket."""

    async def node(state: State) -> State:
        await call(TicketingService.CreateTicket, CreateTicketRequest(subject="x"), approval=approval)
        return {"opened": state.get("opened", 0) + 1}

    graph = StateGraph(State)
    graph.add_sequence([(f"n{number}", node) for number in range(nodes)])
    graph.add_edge(START, "n0")
    return graph


def harness_of(graph: Any, max_effects: int) -> GraphHarness:
    harness = GraphHarness(graph, limits=Limits(max_effects=max_effects))
    harness.serve(TicketingService.CreateTicket, lambda request: CreateTicketResponse(ticket=Ticket(ticket_id="T-1")))
    return harness


@pytest.mark.parametrize(("max_effects", "sent"), [(0, 3), (3, 3), (2, 2)])
async def test_effects_over_the_limit_are_not_sent(max_effects: int, sent: int) -> None:
    harness = harness_of(graph_of(3), max_effects)
    result = await harness.run({})
    assert len(harness.calls(TicketingService.CreateTicket)) == sent
    assert (isinstance(result.error, EffectLimit), result.usage.effects) == (sent < 3, sent)
    assert result.state["opened"] == sent


@pytest.mark.parametrize("crash", ["in call", "after node"])
async def test_repeats_after_a_crash_are_not_counted(crash: str) -> None:
    harness = harness_of(graph_of(2), 2)
    if crash == "in call":
        harness.crash_in_call(TicketingService.CreateTicket, number=2)
    else:
        harness.crash_after("n1")
    result = await harness.run({})
    assert (result.status, result.usage.effects) == ("success", 2)
    assert len(harness.executed(TicketingService.CreateTicket)) == 2


async def test_no_approval_is_requested_for_an_effect_over_the_limit() -> None:
    harness = harness_of(graph_of(2, approval=ApprovalRequest()), 1)
    [approval] = (await harness.run({})).approvals
    result = await harness.approve(approval)
    assert isinstance(result.error, EffectLimit)
    assert result.approvals == []
