"""The declaration of an agent beside its graph: its tools, its limits, its policy and its prompts."""

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
from graphmesh_nodes.errors import ToolNotDeclared

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
) -> GraphT:
    """Declare what a graph may do, and return the graph.

    The orchestrator and the test kit enforce it: a call of another tool is refused with TOOL_NOT_ALLOWED before it is
    sent, of a subgraph too, and a run that exceeds a limit ends. Roles narrow it further.

    Args:
        tools: all RPCs that its nodes, its subgraphs and its models call: also those of the model service.
        limits: the most that each run may use.
        policy: the type of the policy that its nodes read with `agent_policy`.
        prompts: the version of each prompt.

    Raises:
        ValueError: a limit is negative, or the graph is declared already.
    """
    if negative := [name for name, limit in vars(limits).items() if limit < 0]:
        raise ValueError(f"limits.{negative[0]} is negative")
    if (key := _key(graph)) in _declared:
        raise ValueError("the graph is declared already")
    _declared[key] = Declaration({rpc.tool: rpc for rpc in tools}, limits, policy, dict(prompts))
    return graph


def declaration_of(graph: Any) -> Declaration | None:
    """Return the declaration of a graph, compiled or not; None where it has none."""
    return _declared.get(_key(graph))


def _key(graph: Any) -> Any:
    """Return the builder, which is that of each copy of a compiled graph, or the workflow."""
    return graph.builder if isinstance(graph, CompiledStateGraph) else graph
