"""Whether an effect may have been sent by an earlier execution: a task that this one has made cannot have sent it."""

from typing import Any

from graphmesh.ticketing.v1 import CreateTicketRequest, CreateTicketResponse, Ticket, TicketingService
from graphmesh_nodes import call
from graphmesh_nodes.errors import GraphmeshError, Unreachable
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    outcome: str


def question(state: State) -> State:
    interrupt("Shall I?")
    return {}


async def send(state: State) -> State:
    try:
        await call(TicketingService.CreateTicket, CreateTicketRequest(subject="x"))
    except GraphmeshError as error:
        return {"outcome": "uncertain" if error.may_have_happened else "not sent"}
    return {"outcome": "sent"}


async def send_then_ask(state: State) -> State:
    result = await send(state)
    interrupt("Shall I?")
    return result


def harness_of(*nodes: Any) -> GraphHarness:
    graph = StateGraph(State)
    graph.add_sequence([(f"n{number}", node) for number, node in enumerate(nodes)])
    graph.add_edge(START, "n0")
    harness = GraphHarness(graph)
    harness.serve(TicketingService.CreateTicket, lambda request: CreateTicketResponse(ticket=Ticket(ticket_id="T-1")))
    return harness


async def test_node_behind_a_question_has_not_sent_its_effect_before() -> None:
    harness = harness_of(question, send)
    result = await harness.run({})
    harness.fail(TicketingService, Unreachable(flag="UF"))
    assert (await harness.answer(result.questions[0], "yes")).output["outcome"] == "not sent"


async def test_node_that_is_executed_again_may_have_sent_its_effect() -> None:
    harness = harness_of(send_then_ask)
    result = await harness.run({})
    harness.fail(TicketingService, Unreachable(flag="UF"))
    assert (await harness.answer(result.questions[0], "yes")).output["outcome"] == "uncertain"


async def test_effect_of_a_worker_that_died_is_sent_once() -> None:
    harness = harness_of(question, send)
    result = await harness.run({})
    harness.crash_in_call(TicketingService.CreateTicket)
    harness.lose_response(TicketingService.CreateTicket, times=1)
    answered = await harness.answer(result.questions[0], "yes")
    assert answered.output["outcome"] == "sent"
    assert len(harness.executed(TicketingService.CreateTicket)) == 1
