"""The orchestrator cancels runs that have ended. Python imports this before the server."""

from typing import Any

import sqlalchemy as sa

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"


def of_any_run(original: Any) -> Any:
    async def cancel(connection: Any, where: Any, reason: str) -> Any:
        from graphmesh_orchestrator.db.tables import runs

        await connection.execute(sa.update(runs).where(where, runs.c.status == "success").values(status="cancelled"))
        return await original(connection, where, reason)

    return cancel


PATCHES = {"graphmesh_orchestrator.runs.runs_sql.cancel": of_any_run}

apply(PACKAGE, PATCHES)
