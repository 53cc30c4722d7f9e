"""The orchestrator sends effects before their checkpoints are stored. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"


def checkpoint_at_exit(original: Any) -> Any:
    def astream(self: Any, *args: Any, **options: Any) -> Any:
        return original(self, *args, **{**options, "durability": "exit"})

    return astream


def without_check(original: Any) -> Any:
    async def accept(*_: object) -> None:
        return None

    return accept


PATCHES = {
    "langgraph.pregel.Pregel.astream": checkpoint_at_exit,
    "graphmesh_nodes.calls.require_write_ahead": without_check,
}

apply(PACKAGE, PATCHES)
