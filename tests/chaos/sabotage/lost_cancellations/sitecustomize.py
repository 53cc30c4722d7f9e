"""The orchestrator acknowledges cancellations and forgets them. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"


def without_record(original: Any) -> Any:
    async def cancel(*_: object) -> list[str]:
        return []

    return cancel


PATCHES = {"graphmesh_orchestrator.runs.runs_sql.cancel": without_record}

apply(PACKAGE, PATCHES)
