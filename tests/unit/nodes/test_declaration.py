"""The declaration of a graph bounds its tools and its limits; its policy is data of the tenant."""

from pathlib import Path
from typing import Any

import pytest
from graphmesh.crm.v1 import CrmService, Customer, GetCustomerRequest, GetCustomerResponse
from graphmesh_nodes import Limits, agent_policy, call, declare
from graphmesh_nodes.declaration import declaration_of
from graphmesh_nodes.errors import PolicyInvalid, StepLimit, ToolNotDeclared
from graphmesh_nodes.policies import KEY, NAMESPACE
from graphmesh_nodes.testing import GraphHarness
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    name: str


class Policy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tone: str
    days: int


async def read(state: State) -> State:
    response = await call(CrmService.GetCustomer, GetCustomerRequest(customer_id="cu_1"))
    return {"name": response.customer.name}


def builder(*nodes: Any) -> StateGraph[State, None, State, State]:
    graph = StateGraph(State)
    graph.add_sequence([(f"n{number}", node) for number, node in enumerate(nodes)])
    graph.add_edge(START, "n0")
    return graph


def harness_of(graph: Any, **options: Any) -> GraphHarness:
    harness = GraphHarness(graph, **options)
    harness.serve(
        CrmService.GetCustomer, lambda request: GetCustomerResponse(customer=Customer(customer_id="cu_1", name="Mira"))
    )
    return harness


async def test_declared_tools_are_called() -> None:
    result = await harness_of(declare(builder(read), tools=[CrmService.GetCustomer])).run({})
    assert result.output["name"] == "Mira"


@pytest.mark.parametrize("is_subgraph", [False, True])
async def test_other_tools_are_refused_before_they_are_sent(is_subgraph: bool) -> None:
    inner = builder(read)
    harness = harness_of(declare(builder(inner.compile() if is_subgraph else read), tools=[CrmService.SearchCustomers]))
    error = (await harness.run({})).error
    assert isinstance(error, ToolNotDeclared)
    assert error.data == {"tool": "crm.GetCustomer"}
    assert not harness.calls(CrmService.GetCustomer)


@pytest.mark.parametrize(("requested", "steps"), [(0, 2), (1, 1), (3, 2)])
async def test_limits_are_ceilings_of_those_that_a_run_requests(requested: int, steps: int) -> None:
    graph = declare(builder(*[lambda state: {}] * 4), tools=(), limits=Limits(max_steps=2))
    result = await harness_of(graph, limits=Limits(max_steps=requested)).run({})
    assert isinstance(result.error, StepLimit)
    assert result.error.data["limit"] == str(steps)


def test_compiled_graphs_and_their_copies_keep_the_declaration() -> None:
    compiled = declare(builder(read).compile(), tools=[CrmService.GetCustomer], prompts={"draft": "v2"})
    found = declaration_of(compiled.with_config(recursion_limit=7))
    assert found is not None
    assert (list(found.tools), found.prompts) == (["crm.GetCustomer"], {"draft": "v2"})


def test_wrong_declarations_are_refused() -> None:
    graph = builder(read)
    with pytest.raises(ValueError, match=r"limits\.max_tokens is negative"):
        declare(graph, tools=(), limits=Limits(max_tokens=-1))
    declare(graph, tools=())
    with pytest.raises(ValueError, match="declared already"):
        declare(graph, tools=())


def policy_graph(folder: Path) -> StateGraph[State, None, State, State]:
    default = folder / "policy.toml"
    default.write_text('tone = "plain"\ndays = 14\n')

    async def node(state: State) -> State:
        policy = await agent_policy("agent", Policy, default)
        return {"name": f"{policy.value.tone} {policy.value.days} {policy.version}"}

    return builder(node)


async def test_tenants_replace_members_of_the_default_policy(tmp_path: Path) -> None:
    harness = GraphHarness(policy_graph(tmp_path))
    before = (await harness.run({})).output["name"]
    await harness.store.aput((NAMESPACE, "agent"), KEY, {"tone": "warm"})
    after = (await harness.run({})).output["name"]
    assert (before[:8], after[:7]) == ("plain 14", "warm 14")
    assert before.split()[2] != after.split()[2]


@pytest.mark.parametrize(("own", "field"), [({"days": "x"}, "days"), ({"dais": 3}, "dais")])
async def test_wrong_policies_are_refused_by_field(tmp_path: Path, own: dict[str, Any], field: str) -> None:
    harness = GraphHarness(policy_graph(tmp_path))
    await harness.store.aput((NAMESPACE, "agent"), KEY, own)
    error = (await harness.run({})).error
    assert isinstance(error, PolicyInvalid)
    assert [violation.field for violation in error.violations] == [field]
