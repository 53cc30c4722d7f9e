"""Fallbacks: the alternatives of a remote node whose call failed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from langgraph.types import Command

from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.recording import record_escalation

Update = Mapping[str, Any]


class Node(Protocol):
    """A node of a graph, as LangGraph takes it."""

    def __call__(self, state: Any) -> Awaitable[Update | Command[Any]]: ...


Fallback = Callable[[Any, GraphmeshError], Awaitable[Update | Command[Any]]]


def degrade(update: Callable[[Any, GraphmeshError], Update]) -> Fallback:
    """Continue without the service: this update in place of its response. Let the run's answer mention it."""

    async def fallback(state: Any, error: GraphmeshError) -> Update:
        return update(state, error)

    return fallback


@dataclass(frozen=True)
class _Replacement:
    """See `instead`."""

    node: Node

    async def __call__(self, state: Any, _: GraphmeshError) -> Update | Command[Any]:
        return await self.node(state)


def instead(node: Node) -> Fallback:
    """Use another tool: run this node in place of the one that failed."""
    return _Replacement(node)


@dataclass(frozen=True)
class _Escalation:
    """See `escalate`."""

    to: str
    update: Callable[[Any, GraphmeshError], Update]

    async def __call__(self, state: Any, error: GraphmeshError) -> Command[Any]:
        record_escalation(error.reason, self.to)
        return Command(goto=self.to, update=dict(self.update(state, error)))


def escalate(to: str, update: Callable[[Any, GraphmeshError], Update]) -> Fallback:
    """Hand over: continue at the node `to` with this update. The escalation is an event of the run.

    The node that falls back must have no edges, static or conditional, since LangGraph would follow both: where it
    succeeds, its own `update` returns the next node, in a `Command`. Declare all next nodes with
    `add_node(..., destinations=(...))`. A graph that breaks this rule is refused when it is loaded.
    """
    return _Escalation(to, update)


_TARGETS = "escalation targets"
"""The key of a node's attribute."""


def set_escalation_targets(node: Node, fallbacks: Iterable[Fallback | None]) -> None:
    """Record the nodes at which a node with these fallbacks may continue."""
    targets: set[str] = set()
    for fallback in fallbacks:
        if isinstance(fallback, _Escalation):
            targets.add(fallback.to)
        elif isinstance(fallback, _Replacement):
            targets |= escalation_targets(fallback.node)
    vars(node)[_TARGETS] = frozenset(targets)


def escalation_targets(node: object) -> frozenset[str]:
    """Return the nodes at which a node may continue when its call has failed."""
    targets: frozenset[str] = getattr(node, _TARGETS, frozenset())
    return targets
