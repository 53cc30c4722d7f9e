"""The orchestrator streams no event with the number 3. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"
LOST_SEQ = 3


def without_one(original: Any) -> Any:
    async def events(*arguments: Any) -> Any:
        return [event for event in await original(*arguments) if event.seq != LOST_SEQ]

    return events


PATCHES = {"graphmesh_orchestrator.runs.runs_sql.SqlRuns.events": without_one}

apply(PACKAGE, PATCHES)
