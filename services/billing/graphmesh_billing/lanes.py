"""Bounds how many calls wait for the same rows at a time: they hold connections and slots of the service meanwhile,
which calls about other customers need. Further ones wait here, in their order, and hold neither."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

from graphmesh_chassis.admission import Admission, Waits
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.errors import ConcurrencyLimit

MAX_ACTIVE: Final = 2
"""Calls of a lane at a time in this process. They wait for each other's locks, so more of them are not faster."""
MAX_WAITING: Final = 2048
"""Calls that wait in all lanes; a tenant alone gets half."""


class Lanes:
    """The lanes of a process. Calls of one lane lock the same rows, such as those of a customer."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str], Admission] = {}
        self._waits = Waits(MAX_WAITING)

    @asynccontextmanager
    async def enter(self, name: str) -> AsyncIterator[None]:
        """Hold a place in a lane of the current call's tenant while the body runs, after a wait for it.

        Raises:
            ConcurrencyLimit: too many calls wait, or no place became free in time before the deadline.
        """
        call = current_call()
        tenant = call.caller.tenant
        lane = self._lanes.setdefault((tenant, name), Admission(MAX_ACTIVE, MAX_WAITING))
        try:
            async with AsyncExitStack() as held:
                place = lane.slot(call.deadline, tenant)
                if lane.active < MAX_ACTIVE:
                    await held.enter_async_context(place)
                else:
                    with self._waits.place(tenant):
                        async with call.without_slot():
                            with _named(name):
                                await held.enter_async_context(place)
                yield
        finally:
            if not lane.active and not lane.queued:
                self._lanes.pop((tenant, name), None)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let the refusal of a lane state what the calls in it are about."""
    try:
        yield
    except ConcurrencyLimit as error:
        message = f"other calls about {name.replace('/', ' ')} took too long; retry later"
        raise ConcurrencyLimit(message, retry_after=error.retry_after) from error
