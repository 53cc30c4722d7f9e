"""Searches of items and listings of namespaces, over the port of one tenant."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from langgraph.store.base import MatchCondition

from graphmesh_orchestrator.store.item import Namespace
from graphmesh_orchestrator.store.items import Items
from graphmesh_orchestrator.store.matching import is_below

MAX_FILTERED = 10_000
"""Items that a search with a filter reads at most."""
MAX_FILTERED_BYTES = 16 * 1024 * 1024
"""Bytes of values after which a search of a client ends its page."""


async def shown_namespaces(
    items: Items, conditions: Sequence[MatchCondition], max_depth: int | None = None, after: Namespace = ()
) -> AsyncGenerator[Namespace, None]:
    """Yield each namespace that meets all conditions once, cut to `max_depth` labels, in order from behind `after`."""
    last = after
    async with aclosing(items.namespaces(_common_prefix(conditions), after)) as namespaces:
        async for namespace in namespaces:
            shown = namespace[:max_depth]
            if shown != last and all(is_below(namespace, condition) for condition in conditions):
                last = shown
                yield shown


def _common_prefix(conditions: Sequence[MatchCondition]) -> Namespace:
    """Return the labels with which all matching namespaces begin, up to the first wildcard."""
    for condition in conditions:
        if condition.match_type == "prefix":
            labels = tuple(condition.path)
            return labels[: labels.index("*")] if "*" in labels else labels
    return ()
