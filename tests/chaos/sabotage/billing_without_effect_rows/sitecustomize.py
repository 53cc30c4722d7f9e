"""Billing makes its changes without the rows of their keys. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_billing"


def without_row(original: Any) -> Any:
    async def do_nothing(*_: object) -> None:
        return None

    return do_nothing


PATCHES = {"graphmesh_chassis.store.claim_key": without_row, "graphmesh_chassis.store.record_outcome": without_row}

apply(PACKAGE, PATCHES)
