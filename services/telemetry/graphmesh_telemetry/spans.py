"""The port of what is kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from graphmesh_telemetry.domain import Span


class Spans(Protocol):
    """The spans of all tenants."""

    async def add(self, spans: Sequence[Span]) -> None:
        """Keep spans. Raises DatabaseUnavailable."""

    async def of_run(self, tenant: str, run: str, limit: int) -> list[Span]:
        """Return the first spans of the traces that a run of a tenant is in, in the order in which they began."""

    async def prune(self, before: datetime, keep: int) -> None:
        """Delete spans that ended earlier, and the oldest ones above a number."""
