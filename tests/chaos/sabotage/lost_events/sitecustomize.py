"""The orchestrator streams no event with the number 3. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"
LOST_SEQ = 3


def without_one(original: Any) -> Any:
    async def events(*arguments: Any) -> Any:
        page = await original(*arguments)
        return type(page)([event for event in page if event.seq != LOST_SEQ], page.progress)

    return events


PATCHES = {"graphmesh_orchestrator.runs.runs_sql.SqlRuns.events": without_one}

apply(PACKAGE, PATCHES)
