"""Rules of graphs that LangGraph does not check."""

import re
from collections.abc import Iterator
from typing import Any

from graphmesh_chassis.bounded_schemas import patterns_of
from graphmesh_chassis.linear_patterns import NOT_LINEAR, is_linear
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel

from graphmesh_nodes.breakpoints import Breakpoints
from graphmesh_nodes.fallbacks import escalation_targets
from graphmesh_nodes.graph_inputs import aliases_of, channel_schemas
from graphmesh_nodes.node_retries import keep_decisions
from graphmesh_nodes.unsaved_graphs import allow_unsaved_graphs, effects_of, function_of


class GraphRuleViolated(Exception):
    """A graph would do what its author does not mean. The message has the node and the rule."""


def check_graph(graph: Pregel[Any, Any, Any, Any]) -> None:
    """Check a compiled graph and the graphs that are its nodes.

    Raises:
        GraphRuleViolated: a node escalates, and has edges of its own or an unknown target; a state has fields that
            LangGraph cannot set, or patterns that take exponential time for some inputs; a graph has a store
            that is not in memory, or has an index of embeddings; a graph that is a node has breakpoints, or effects
            and no checkpoints.
    """
    allow_unsaved_graphs()
    keep_decisions()
    if graph.store is not None:
        _check_store(graph.store)
    if not isinstance(graph, CompiledStateGraph):
        return
    for state in graph.builder.schemas:
        _check_aliases(state)
        _check_patterns(graph, state)
    for name, spec in graph.builder.nodes.items():
        if isinstance(spec.runnable, CompiledStateGraph):
            check_graph(spec.runnable)
            _check_subgraph(name, spec.runnable)
        targets = escalation_targets(function_of(spec.runnable))
        if targets and (next_nodes := sorted(_successors(graph, name))):
            edges = ", ".join(next_nodes)
            raise GraphRuleViolated(
                f"node {name} escalates to {', '.join(sorted(targets))}, and has edges to {edges}: LangGraph would "
                "follow both; remove the edges, and let its `update` return Command(goto=..., update=...)"
            )
        if unknown := sorted(targets - graph.builder.nodes.keys()):
            raise GraphRuleViolated(f"node {name} escalates to {', '.join(unknown)}, which is no node of the graph")


def _check_subgraph(name: str, graph: CompiledStateGraph[Any, Any, Any, Any]) -> None:
    """Without checkpoints each execution gives the tasks other ids, and so the effects other keys."""
    if Breakpoints.of(graph):
        raise GraphRuleViolated(f"node {name} is a graph with breakpoints: set them in the graph around it")
    if graph.checkpointer is False and (effect := next(effects_of(graph), None)):
        raise GraphRuleViolated(
            f"node {name} is a graph with checkpointer=False, and its node {effect[0]} calls {effect[1]}, an effect: "
            "it could happen twice; compile the graph without checkpointer=False"
        )


def _check_store(store: BaseStore) -> None:
    """A graph's own store would be that of all tenants, so the orchestrator's takes its place."""
    if type(store) is not InMemoryStore:
        raise GraphRuleViolated(
            f"it is compiled with the store {type(store).__name__}, and the orchestrator gives a graph the store of "
            "its tenant: compile it without a store"
        )


def _check_aliases(state: Any) -> None:
    """LangGraph constructs a pydantic model from its channels, which have the names of its fields."""
    aliases = aliases_of(state)
    if aliases and not any(state.model_config.get(option) for option in ("populate_by_name", "validate_by_name")):
        alias, name = next(iter(aliases.items()))
        raise GraphRuleViolated(
            f"the state {state.__name__} has the alias {alias} for its field {name}, by which LangGraph sets it: allow "
            "it with model_config = ConfigDict(populate_by_name=True), or remove the alias"
        )


def _check_patterns(graph: CompiledStateGraph[Any, Any, Any, Any], state: Any) -> None:
    """Inputs of callers are matched with them."""
    name = getattr(state, "__name__", "State")
    for pattern in patterns_of(list(channel_schemas(graph.builder, state))):
        try:
            is_linear(pattern)
        except ValueError as error:
            raise GraphRuleViolated(f"the state {name} has the pattern {error}") from error
    if isinstance(state, type) and issubclass(state, BaseModel) and (pattern := _python_pattern(state)):
        raise GraphRuleViolated(
            f"the state {name} has {pattern} for Python's re, which {NOT_LINEAR}: use pydantic's own engine, with the "
            "pattern as a text and without regex_engine"
        )


def _python_pattern(state: type[BaseModel]) -> str:
    """Return a pattern that pydantic matches with Python's `re`; empty where there is none."""
    unvisited: list[Any] = [state.__pydantic_core_schema__]
    while unvisited:
        match unvisited.pop():
            case {"regex_engine": "python-re"}:
                return "patterns"
            case {"pattern": re.Pattern() as pattern}:
                return f"the pattern {pattern.pattern!r}"
            case dict() as inner:
                unvisited.extend(inner.values())
            case list() | tuple() as inner:
                unvisited.extend(inner)
    return ""


def _successors(graph: CompiledStateGraph[Any, Any, Any, Any], name: str) -> Iterator[str]:
    """Yield the nodes that follow a node by its edges."""
    builder = graph.builder
    yield from (end for start, end in builder.edges if start == name)
    yield from (end for starts, end in builder.waiting_edges if name in starts)
    for branch in builder.branches.get(name, {}).values():
        yield from (branch.ends.values() if branch.ends else ["any node, by a condition"])
