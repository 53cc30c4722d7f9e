"""Sums of usage."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from graphmesh_model.accounting.ledger import Settlement, UsageTotal
from graphmesh_model.domain import Usage

TOKENS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_written_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
COUNTS = ("attempts", "failed_attempts", "cache_hits", *TOKENS, "images", "cost", "estimated_tokens", "unpriced_tokens")
"""The columns of sums."""


def total_of(settlement: Settlement, *, cache_hit: bool = False) -> UsageTotal:
    """Return the sum of one attempt, or of one answer from the cache."""
    usage = settlement.usage
    tokens = usage.input_tokens + usage.output_tokens
    return UsageTotal(
        attempts=0 if cache_hit else 1,
        failed_attempts=int(settlement.failed),
        usage=usage,
        cost=settlement.cost or 0,
        estimated_tokens=tokens if usage.estimated else 0,
        unpriced_tokens=tokens if settlement.cost is None else 0,
        cache_hits=int(cache_hit),
    )


def columns_of(total: UsageTotal) -> dict[str, int]:
    own = {name: getattr(total, name) for name in COUNTS if hasattr(total, name)}
    return own | {name: getattr(total.usage, name) for name in COUNTS if name not in own}


def total_from(columns: Mapping[Any, Any]) -> UsageTotal:
    """The inverse of `columns_of`. Its usage is estimated where a part of it is."""
    counts: dict[str, Any] = {name: int(columns[name] or 0) for name in COUNTS}
    tokens = {name: counts.pop(name) for name in (*TOKENS, "images")}
    return UsageTotal(usage=Usage(**tokens, estimated=counts["estimated_tokens"] > 0), **counts)


def added(totals: Iterable[UsageTotal]) -> UsageTotal:
    sums = dict.fromkeys(COUNTS, 0)
    for total in totals:
        for name, count in columns_of(total).items():
            sums[name] += count
    return total_from(sums)


def of_usages(usages: Iterable[Usage]) -> Usage:
    """Return the sum of usages; it is estimated where one of them is."""
    found = list(usages)
    total = added(UsageTotal(usage=usage) for usage in found).usage
    return replace(total, estimated=any(usage.estimated for usage in found))
