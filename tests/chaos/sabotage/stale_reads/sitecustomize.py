"""The orchestrator reads runs from a cache of two seconds. Python imports this before the server."""

import time
from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"
CACHE_SECONDS = 2


def cached(original: Any) -> Any:
    reads: dict[str, tuple[float, Any]] = {}

    async def get(self: Any, tenant: str, run_id: str) -> Any:
        now = time.monotonic()
        read_at, run = reads.get(run_id, (0.0, None))
        if run is None or now - read_at > CACHE_SECONDS:
            run = await original(self, tenant, run_id)
            reads[run_id] = now, run
        return run

    return get


PATCHES = {"graphmesh_orchestrator.runs.runs_sql.SqlRuns.get": cached}

apply(PACKAGE, PATCHES)
