"""Graphs within a graph that are compiled with `checkpointer=False`."""

from collections.abc import Iterator
from typing import Any

from graphmesh_contracts import Idempotency, Rpc, method_policy
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import _loop

_RPC = "rpc"
"""The key of a node's attribute."""


class _Stored:
    """Stands for the last checkpoint of a graph that has none: it is stored."""

    def __await__(self) -> Iterator[None]:
        return iter(())

    def result(self) -> None:
        """Return at once."""


def allow_unsaved_graphs() -> None:
    """Let LangGraph run a graph without checkpoints inside of one with `durability="sync"`.

    LangGraph 1.2 waits for the last checkpoint of each superstep, also where there is no checkpointer to store it.
    """
    _loop.PregelLoop._put_checkpoint_fut = _Stored()  # type: ignore[assignment]


def set_rpc(node: Any, rpc: Rpc[Any, Any]) -> None:
    """Record the RPC that a node calls."""
    vars(node)[_RPC] = rpc


def function_of(runnable: Any) -> Any:
    """Return the asynchronous function of a node; None where it has none.

    It is not looked up as an attribute: a runnable with fallbacks takes that of the runnable within it, and may fail.
    """
    return getattr(runnable, "__dict__", {}).get("afunc")


def effects_of(graph: CompiledStateGraph[Any, Any, Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the remote nodes of a graph, and of those within it, that call a tool with an effect, and the tool."""
    for name, spec in graph.builder.nodes.items():
        if isinstance(spec.runnable, CompiledStateGraph):
            yield from effects_of(spec.runnable)
        rpc: Rpc[Any, Any] | None = getattr(function_of(spec.runnable), _RPC, None)
        if rpc and method_policy(rpc.descriptor).idempotency is Idempotency.EFFECT:
            yield name, rpc.tool
