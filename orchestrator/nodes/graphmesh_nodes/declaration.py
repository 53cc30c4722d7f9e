"""The declaration of an agent beside its graph: its tools, its limits, its policy and its prompts."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from graphmesh_contracts import Method
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import BaseModel

from graphmesh_nodes.budget import NO_LIMITS, Limits
from graphmesh_nodes.errors import FieldViolation, InvalidInput, ToolNotDeclared

CUSTOMER_RULE = re.compile(r"[!-~]{1,255}")
"""Customers are the value of a header."""

GraphT = TypeVar("GraphT", bound=StateGraph[Any, Any, Any, Any] | Pregel[Any, Any, Any, Any])


@dataclass(frozen=True)
class Declaration:
    """The bounds of a graph, whatever its nodes, its models and its callers request."""

    tools: Mapping[str, Method[Any, Any]]
    """The tools that it may call, by name: `billing.Refund`."""
    limits: Limits = NO_LIMITS
    """The most that a run of it may use. A caller may request less."""
    policy: type[BaseModel] | None = None
    """The type of its policy, of which each tenant may have one of its own (`agent_policy`)."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """The version of each prompt."""
    customer: str = ""
    """The key of the customer in input and state, to which all calls of a run are bound; empty: to none."""

    def customer_of(self, run_input: Any, state: Any) -> str:
        """Return the customer of a run: that of its input, or that of its thread's state where the input has none.

        Raises:
            InvalidInput: there is none, or the input names another one than the thread has.
        """
        if not self.customer:
            return ""
        stated, known = (_member(values, self.customer) for values in (run_input, state))
        if stated and known and stated != known:
            raise self._invalid("is not the customer of the thread")
        if not isinstance(customer := stated or known, str) or not CUSTOMER_RULE.fullmatch(customer):
            raise self._invalid("has to be a customer: a text of 255 visible characters of ASCII at the most")
        return customer

    def _invalid(self, rule: str) -> InvalidInput:
        return InvalidInput(f"{self.customer} {rule}", violations=[FieldViolation(self.customer, rule)])

    def require_tool(self, tool: str) -> None:
        """Raises ToolNotDeclared where the graph does not declare a tool."""
        if tool not in self.tools:
            raise ToolNotDeclared(tool=tool)


_declared: "WeakKeyDictionary[Any, Declaration]" = WeakKeyDictionary()


def declare(
    graph: GraphT,
    *,
    tools: Iterable[Method[Any, Any]],
    limits: Limits = NO_LIMITS,
    policy: type[BaseModel] | None = None,
    prompts: Mapping[str, str] = MappingProxyType({}),
    customer: str = "",
) -> GraphT:
    """Declare what a graph may do, and return the graph.

    The orchestrator and the test kit enforce it: a call of another tool is refused with TOOL_NOT_ALLOWED before it is
    sent, of a subgraph too, and a run that exceeds a limit ends. Roles narrow it further.

    Args:
        tools: all RPCs that its nodes, its subgraphs and its models call: also those of the model service.
        limits: the most that each run may use.
        policy: the type of the policy that its nodes read with `agent_policy`.
        prompts: the version of each prompt.
        customer: the key of its input and state whose value is the customer of a run. All calls of the run are bound to
            it, from its input on, whatever nodes and models write: services read and change no record of another one.
            A thread has one customer.

    Raises:
        ValueError: a limit is negative, or the graph is declared already.
    """
    if negative := [name for name, limit in vars(limits).items() if limit < 0]:
        raise ValueError(f"limits.{negative[0]} is negative")
    if (key := _key(graph)) in _declared:
        raise ValueError("the graph is declared already")
    _declared[key] = Declaration({rpc.tool: rpc for rpc in tools}, limits, policy, dict(prompts), customer)
    return graph


def no_customer(run_input: Any, state: Any) -> str:
    """Return no customer: that of a run of a graph without a declaration."""
    return ""


def declaration_of(graph: Any) -> Declaration | None:
    """Return the declaration of a graph, compiled or not; None where it has none."""
    return _declared.get(_key(graph))


def _member(values: Any, key: str) -> Any:
    return values.get(key) if isinstance(values, Mapping) else None


def _key(graph: Any) -> Any:
    """Return the builder, which is that of each copy of a compiled graph, or the workflow."""
    return graph.builder if isinstance(graph, CompiledStateGraph) else graph
