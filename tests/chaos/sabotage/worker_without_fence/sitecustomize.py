"""The orchestrator does without what keeps a worker that cannot reach its database from effects.

It believes and reports that its leases hold for an hour, so it stops no execution and sends no lease that a service
refuses; and it sends effects that are not stored as open. Python imports this before the server.
"""

from typing import Any

from tests.chaos.sabotage.patches import apply

PACKAGE = "graphmesh_orchestrator"


def an_hour(original: Any) -> Any:
    return property(lambda lease: 3600.0)


def without_record(original: Any) -> Any:
    async def do_nothing(*_: object) -> None:
        return None

    return do_nothing


PATCHES = {
    "graphmesh_orchestrator.leases.in_flight.OwnLease.remaining": an_hour,
    "graphmesh_orchestrator.worker.journal.Journal.effect_sending": without_record,
}

apply(PACKAGE, PATCHES)
