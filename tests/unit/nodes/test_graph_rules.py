"""Graphs that LangGraph would compile, and that would do what their authors do not mean, are refused."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from graphmesh.billing.v1 import BillingService
from graphmesh.crm.v1 import CrmService, GetCustomerRequest
from graphmesh_nodes import escalate, instead, remote
from graphmesh_nodes.errors import NotFound
from graphmesh_nodes.fallbacks import Fallback, Node
from graphmesh_nodes.graph_rules import GraphRuleViolated, check_graph
from graphmesh_nodes.testing import GraphHarness, HarnessError
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    customer_id: str


Builder = StateGraph[State, None, State, State]
HAND_OVER = escalate("ask", lambda state, error: {})


def customer(fallback: Fallback) -> Node:
    return remote(
        CrmService.GetCustomer,
        request=lambda state: GetCustomerRequest(customer_id=state["customer_id"]),
        update=lambda state, response: Command(goto="answer"),
        refusals={NotFound: fallback},
    )


def support(node: Node, *names: str) -> Builder:
    """A graph that begins with the node, and has these other nodes."""
    builder: Builder = StateGraph(State)
    builder.add_node("customer", node, destinations=names)
    builder.add_edge(START, "customer")
    for name in names:
        builder.add_node(name, lambda state: {})
    return builder


def add_edge(builder: Builder) -> None:
    builder.add_edge("customer", "answer")


def add_waiting_edge(builder: Builder) -> None:
    builder.add_edge(["customer", "ask"], "answer")


def add_conditional_edges(builder: Builder) -> None:
    builder.add_conditional_edges("customer", lambda state: "answer", ["answer"])


def add_open_condition(builder: Builder) -> None:
    builder.add_conditional_edges("customer", lambda state: "answer")


@pytest.mark.parametrize("add", [add_edge, add_waiting_edge, add_conditional_edges, add_open_condition])
@pytest.mark.parametrize("fallback", [HAND_OVER, instead(customer(HAND_OVER))], ids=["escalate", "instead"])
def test_node_that_escalates_has_no_edges(add: Callable[[Builder], None], fallback: Fallback) -> None:
    builder = support(customer(fallback), "answer", "ask")
    add(builder)
    with pytest.raises(GraphRuleViolated, match="node customer escalates to ask, and has edges to an"):
        check_graph(builder.compile())


def test_escalation_has_a_target() -> None:
    with pytest.raises(GraphRuleViolated, match="escalates to ask, which is no node"):
        check_graph(support(customer(HAND_OVER), "answer").compile())


def test_graphs_that_are_nodes_are_checked() -> None:
    inner = support(customer(HAND_OVER), "answer", "ask")
    add_edge(inner)
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    with pytest.raises(GraphRuleViolated):
        check_graph(outer.compile())


@pytest.mark.parametrize("checkpointer", [None, False])
@pytest.mark.parametrize("rpc", [CrmService.GetCustomer, BillingService.Refund])
def test_effects_of_a_subgraph_need_its_checkpoints(rpc: Any, checkpointer: Any) -> None:
    """Without them each execution would give the effect another key."""
    node = remote(rpc, request=lambda state: None, update=lambda state, response: {})
    inner: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    inner.add_node("tool", node)
    inner.add_edge(START, "tool")
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    outer.add_node("inner", inner.compile(checkpointer=checkpointer))
    outer.add_edge(START, "inner")
    if checkpointer is None or rpc is CrmService.GetCustomer:
        check_graph(outer.compile())
    else:
        with pytest.raises(GraphRuleViolated, match=r"checkpointer=False, and its node tool calls billing\.Refund"):
            check_graph(outer.compile())


class Order(BaseModel):
    order_id: str = Field(alias="orderId")


class OrderByName(Order):
    model_config = ConfigDict(populate_by_name=True)


def test_alias_that_hides_the_name_of_a_channel_is_refused() -> None:
    """LangGraph could not run the graph: its channels have the names of the fields."""
    graph = one_node(Order)
    with pytest.raises(GraphRuleViolated, match="Order has the alias orderId for its field order_id"):
        check_graph(graph.compile())
    check_graph(one_node(OrderByName).compile())


def one_node(state: type[Any]) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    builder.add_node("one", lambda state: {})
    return builder.add_edge(START, "one")


async def test_harness_refuses_the_graph() -> None:
    builder = support(customer(HAND_OVER), "answer", "ask")
    GraphHarness(builder)
    add_edge(builder)
    with pytest.raises(HarnessError, match="remove the edges"):
        GraphHarness(builder)


async def test_node_without_edges_continues_at_its_target() -> None:
    harness = GraphHarness(support(customer(HAND_OVER), "answer", "ask"))
    harness.fail(CrmService.GetCustomer, NotFound(resource="customer", id="cu_1"))
    result = await harness.run({"customer_id": "cu_1"})
    assert result.nodes == ["customer", "ask"]


class PythonEngine(BaseModel):
    model_config = ConfigDict(regex_engine="python-re")
    code: Annotated[str, Field(pattern="^(a+)+$")]


class Inner(BaseModel):
    code: Annotated[str, Field(pattern=re.compile("^(a+)+$"))]


class CompiledPattern(BaseModel):
    inner: list[Inner]


@pytest.mark.parametrize("state", [PythonEngine, CompiledPattern])
def test_pattern_of_another_engine_is_refused(state: type[BaseModel]) -> None:
    """It takes exponential time for some inputs of callers."""
    with pytest.raises(GraphRuleViolated, match=f"the state {state.__name__} has .*linear time"):
        check_graph(of_state(state).compile())


def test_pattern_without_a_linear_match_is_refused() -> None:
    class Lookahead(TypedDict):
        code: Annotated[str, WithJsonSchema({"type": "string", "pattern": "^(?=a)b"})]

    with pytest.raises(GraphRuleViolated, match=r"the state Lookahead has the pattern .*\(\?=a\).* linear time"):
        check_graph(of_state(Lookahead).compile())


def test_pattern_of_the_default_engine_is_allowed() -> None:
    class Model(BaseModel):
        code: Annotated[str, Field(pattern="^(a+)+$")]

    check_graph(of_state(Model).compile())


def of_state(state: Any) -> StateGraph[Any, Any, Any, Any]:
    """A graph of one node with this state."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    return builder


def test_node_with_fallbacks_is_accepted() -> None:
    """A `RunnableWithFallbacks` looks its attributes up in the runnable within it, whose hints may not resolve."""
    handled = ToolNode([]).with_fallbacks([RunnableLambda(lambda state: {})], exception_key="error")
    builder: Any = StateGraph(dict)
    builder.add_node("tools", handled)
    builder.add_edge(START, "tools")
    check_graph(builder.compile())
