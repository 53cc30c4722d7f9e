"""The orchestrator begins a run while another has its thread. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"


def at_once(original: Any) -> Any:
    def admitted(run: Any, before: Any, worker: str) -> Any:
        return original(run, (), worker).with_state(holds_thread=not before)

    return admitted


PATCHES = {"graphmesh_orchestrator.runs.runs_sql.admitted": at_once}

apply(PACKAGE, PATCHES)
