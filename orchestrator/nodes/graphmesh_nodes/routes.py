"""Conditional edges: what a condition looks at is declared with it, and the branch that it takes is recorded."""

import functools
import inspect
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.graph._branch import BranchSpec
from langgraph.types import Send

from graphmesh_nodes.decisions import MAX_ITEMS, RouteTaken, short, shown
from graphmesh_nodes.recording import record_in

ConditionT = TypeVar("ConditionT", bound=Callable[..., Any])
_own_finish = BranchSpec._finish


class _Routed(list[Any]):
    """The destinations of a branch, as LangGraph takes them, with the values that its condition looked at."""

    looked_at: Mapping[str, str]


def routed(condition: ConditionT, *keys: str, **values: Callable[[Any], Any]) -> ConditionT:
    """Return a condition that states what it looked at, for `add_conditional_edges`.

        graph.add_conditional_edges("validate", routed(after_validate, "reason", "outcome"))
        graph.add_conditional_edges("apply", routed(after_apply, pending=lambda state: len(_pending(state))))

    The branch of every conditional edge is an event of the run; with this, the event has these values too. Name no key
    whose value belongs in no log: texts are redacted and cut off, lists and objects are shown by their length.

    Args:
        keys: keys of the state.
        values: further values by the names under which they are shown, each a function of the state.

    Raises:
        TypeError: the condition is no function.
    """
    if not inspect.isroutine(condition):
        raise TypeError("routed takes a function; declare what a Runnable looks at with a function that calls it")

    def with_values(state: Any, destinations: Any) -> _Routed:
        result = _Routed(destinations if isinstance(destinations, list | tuple) else [destinations])
        result.looked_at = _looked_at(state, keys, values)
        return result

    if inspect.iscoroutinefunction(condition):

        @functools.wraps(condition)
        async def route_async(state: Any, *args: Any, **options: Any) -> Any:
            return with_values(state, await condition(state, *args, **options))

        return route_async  # type: ignore[return-value]  # the same signature

    @functools.wraps(condition)
    def route(state: Any, *args: Any, **options: Any) -> Any:
        return with_values(state, condition(state, *args, **options))

    return route  # type: ignore[return-value]  # the same signature


def _looked_at(state: Any, keys: tuple[str, ...], values: Mapping[str, Callable[[Any], Any]]) -> Mapping[str, str]:
    of_keys: dict[str, Callable[[Any], Any]] = {key: functools.partial(_member, key=key) for key in keys}
    getters = {**of_keys, **values}
    return {short(name): _value(get, state) for name, get in islice(getters.items(), MAX_ITEMS)}


def _value(get: Callable[[Any], Any], state: Any) -> str:
    try:
        return shown(get(state))
    except Exception as error:  # code of the graph's author, which must not change the route
        return f"[{type(error).__name__}]"


def _member(state: Any, key: str) -> Any:
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)


def record_routes() -> None:
    """Record the branches of all conditional edges in this process, by LangGraph's private `BranchSpec._finish`."""
    BranchSpec._finish = _finish  # type: ignore[method-assign, assignment]


def _finish(branch: BranchSpec, writer: Any, input: Any, result: Any, config: RunnableConfig) -> Any:
    finished = _own_finish(branch, writer, input, result, config)
    record_in(config, lambda node, around: RouteTaken(node, around, *_route(branch, result)))
    return finished


def _route(branch: BranchSpec, result: Any) -> tuple[str, tuple[str, ...], Mapping[str, str]]:
    """Return the name of a condition, the nodes that it has chosen, and what it looked at."""
    results = result if isinstance(result, list | tuple) else [result]
    names = (one.node if isinstance(one, Send) else (branch.ends or {}).get(one, one) for one in results)
    destinations = tuple(islice(dict.fromkeys(map(str, names)), MAX_ITEMS))
    return short(branch.path.get_name()), destinations, getattr(result, "looked_at", {})
