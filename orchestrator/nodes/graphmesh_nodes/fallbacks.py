"""Fallbacks: the alternatives of a remote node whose call failed."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.types import Command

from graphmesh_nodes.context import RunContext
from graphmesh_nodes.errors import GraphmeshError

Update = Mapping[str, Any]
Node = Callable[..., Awaitable[Update | Command[Any]]]
"""Takes (state, config, runtime). LangGraph, which passes all three, has no type for that."""
Fallback = Callable[[Any, RunnableConfig, Runtime[RunContext], GraphmeshError], Awaitable[Update | Command[Any]]]


def degrade(update: Callable[[Any, GraphmeshError], Update]) -> Fallback:
    """Continue without the service: this update in place of its response. Let the run's answer mention it."""

    async def fallback(state: Any, _: RunnableConfig, __: Runtime[RunContext], error: GraphmeshError) -> Update:
        return update(state, error)

    return fallback


def instead(node: Node) -> Fallback:
    """Use another tool: run this node in place of the one that failed."""

    async def fallback(
        state: Any, config: RunnableConfig, runtime: Runtime[RunContext], _: GraphmeshError
    ) -> Update | Command[Any]:
        return await node(state, config, runtime)

    return fallback


def escalate(to: str, update: Callable[[Any, GraphmeshError], Update]) -> Fallback:
    """Hand over: continue at the node `to` with this update.

    The node that falls back must have no static edge of its own, since LangGraph follows both. Declare `to` with
    `add_node(..., destinations=(to,))`.
    """

    async def fallback(state: Any, _: RunnableConfig, __: Runtime[RunContext], error: GraphmeshError) -> Command[Any]:
        return Command(goto=to, update=dict(update(state, error)))

    return fallback
