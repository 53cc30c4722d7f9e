"""A node that needs four eyes, and the roles of the run's caller."""

from collections.abc import Collection

import pytest
from graphmesh.ticketing.v1 import CreateTicketRequest, CreateTicketResponse, Ticket, TicketingService
from graphmesh_nodes import ApprovalRule, remote, run_context
from graphmesh_nodes.errors import ApproverIsRequester
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    ticket_id: str
    roles: list[str] | None


def roles(state: State) -> State:
    found = run_context().roles()
    return {"roles": None if found is None else sorted(found)}


def harness_of(four_eyes: bool = True, names: Collection[str] | None = None) -> GraphHarness:
    graph = StateGraph(State)
    graph.add_node("roles", roles)
    node = remote(
        TicketingService.CreateTicket,
        request=lambda state: CreateTicketRequest(subject="x"),
        update=lambda state, response: {"ticket_id": response.ticket.ticket_id},
        approval=ApprovalRule(four_eyes=four_eyes),
    )
    graph.add_node("open", node)
    graph.add_edge(START, "roles")
    graph.add_edge("roles", "open")
    harness = GraphHarness(graph, subject="mira", roles=names)
    harness.serve(TicketingService.CreateTicket, lambda request: CreateTicketResponse(ticket=Ticket(ticket_id="T-1")))
    return harness


async def test_the_requester_cannot_approve_and_another_can() -> None:
    harness = harness_of()
    [approval] = (await harness.run({})).approvals
    with pytest.raises(ApproverIsRequester):
        await harness.approve(approval, by="mira")
    assert (await harness.approve(approval, by="lena")).output["ticket_id"] == "T-1"


async def test_without_four_eyes_the_requester_approves() -> None:
    harness = harness_of(four_eyes=False)
    [approval] = (await harness.run({})).approvals
    assert (await harness.approve(approval, by="mira")).status == "success"


@pytest.mark.parametrize(("names", "seen"), [(None, None), ((), []), (["lead", "agent"], ["agent", "lead"])])
async def test_nodes_read_the_roles_of_the_caller(names: Collection[str] | None, seen: list[str] | None) -> None:
    assert (await harness_of(names=names).run({})).state["roles"] == seen
