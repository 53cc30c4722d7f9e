"""Billing accepts effects of any epoch. Python imports this before the server."""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_billing"


def without_check(original: Any) -> Any:
    async def accept(*_: object) -> None:
        return None

    return accept


PATCHES = {"graphmesh_chassis.store.fence": without_check}

apply(PACKAGE, PATCHES)
