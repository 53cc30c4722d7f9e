"""The orchestrator requests no approvals. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"


def without_approval(original: Any) -> Any:
    def need_no_approval(*_: object) -> None:
        return None

    return need_no_approval


PATCHES = {"graphmesh_nodes.calls.require_approval": without_approval}

apply(PACKAGE, PATCHES)
