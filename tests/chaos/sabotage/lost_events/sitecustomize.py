"""The orchestrator streams no event with the number 3. Python imports this before the server."""

from dataclasses import replace
from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"
LOST_SEQ = 3


def without_one(original: Any) -> Any:
    async def events(*arguments: Any) -> Any:
        page = await original(*arguments)
        return replace(page, batches=[_without_one(batch) for batch in page.batches])

    return events


def _without_one(batch: Any) -> Any:
    numbered = enumerate(zip(batch.kinds, batch.elements, strict=True), batch.last_seq - len(batch.kinds) + 1)
    kept = [event for seq, event in numbered if seq != LOST_SEQ]
    return replace(batch, kinds=bytes(kind for kind, _ in kept), elements=[element for _, element in kept])


PATCHES = {"graphmesh_orchestrator.runs.runs_sql.SqlRuns.events": without_one}

apply(PACKAGE, PATCHES)
