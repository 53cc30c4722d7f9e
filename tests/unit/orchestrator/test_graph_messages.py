"""What ListGraphs shows of a graph: its declaration, and the roles that may run it."""

import json
from pathlib import Path
from typing import Any

from graphmesh.billing.v1 import BillingService
from graphmesh.crm.v1 import CrmService
from graphmesh_contracts import struct_value
from graphmesh_nodes import Limits, declare
from graphmesh_orchestrator.api.run_service import graph_message
from graphmesh_orchestrator.registry import Graph
from graphmesh_orchestrator.roles import NO_RULES, RoleRules
from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict


class State(TypedDict):
    customer_id: str


class Policy(BaseModel):
    days: int


def graph_of(*, declared: bool) -> Graph:
    builder = StateGraph(State)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    if declared:
        tools: list[Any] = [CrmService.GetCustomer, BillingService.Refund]
        limits, prompts = Limits(max_steps=5, max_effects=2), {"draft": "v2"}
        declare(builder, tools=tools, limits=limits, policy=Policy, prompts=prompts, customer="customer_id")
    return Graph.of("pay", builder.compile())


def rules(folder: Path) -> RoleRules:
    path = folder / "roles.json"
    roles: dict[str, dict[str, list[str]]] = {
        "all": {"graphs": ["*"], "tools": ["*"], "scopes": []},
        "agent": {"graphs": ["pay"], "tools": ["crm", "sql"], "scopes": []},
        "other": {"graphs": [], "tools": ["billing"], "scopes": []},
    }
    path.write_text(json.dumps(roles))
    return RoleRules(path, ["pay"])


def test_declaration_is_shown() -> None:
    shown = graph_message(graph_of(declared=True), NO_RULES).declaration
    assert list(shown.tools) == ["billing.Refund", "crm.GetCustomer"]
    assert (shown.ceilings.max_steps, shown.ceilings.max_effects, shown.ceilings.max_tokens) == (5, 2, 0)
    assert (dict(shown.prompts), shown.customer) == ({"draft": "v2"}, "customer_id")
    assert "days" in struct_value(shown.policy_schema)["properties"]


def test_roles_that_may_run_it_are_shown_with_those_of_its_tools_that_they_have(tmp_path: Path) -> None:
    shown = graph_message(graph_of(declared=True), rules(tmp_path)).roles
    tools = {one.role: list(one.tools) for one in shown}
    assert tools == {"agent": ["crm.GetCustomer"], "all": ["billing.Refund", "crm.GetCustomer"]}


def test_graph_without_a_declaration_has_the_tools_of_its_roles(tmp_path: Path) -> None:
    shown = graph_message(graph_of(declared=False), rules(tmp_path))
    assert not shown.HasField("declaration")
    assert {one.role: list(one.tools) for one in shown.roles} == {"agent": ["crm", "sql"], "all": ["*"]}
