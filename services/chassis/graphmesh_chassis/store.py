"""The unit of work between a servicer and its port: one transaction, one tenant, at most one effect.

In a servicer:

    async with store.read() as tickets:  # a consistent read
        ...
    async with store.effect() as effect:  # entered once for each idempotency key
        ticket = await effect.port.add(draft)
        return effect.respond(CreateTicketResponse(ticket=...))
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_chassis import metadata
from graphmesh_chassis.calls import Call, current_call
from graphmesh_chassis.database import Database
from graphmesh_chassis.effects import Effect, InFlight, Outcome, claim, fence, record
from graphmesh_chassis.errors import CallerError, Fenced

PortT = TypeVar("PortT")


class Store(Protocol[PortT]):
    """Opens a service's port for the tenant of the current call."""

    def read(self) -> AbstractAsyncContextManager[PortT]:
        """The port, on one consistent state; nothing that is changed through it is kept."""
        ...

    def effect(self) -> AbstractAsyncContextManager[Effect[PortT]]:
        """The port, in the transaction that also stores the call's key and response.

        The body runs at most once to its end for each key: a repeat never enters it. A `CallerError` out of the body
        is an outcome like a response: the change is rolled back, the error is stored, and repeats get it too.

        Raises:
            IdempotencyKeyReused: the key was used with another request.
            IdempotencyKeyInUse: a call with the key is under way and takes too long to wait for.
            Fenced: the call is of an epoch of its run that is over.
        """
        ...


class SqlStore(Generic[PortT]):
    """A store over a database. `port` makes the port from a connection and the tenant."""

    def __init__(self, database: Database, port: Callable[[AsyncConnection, str], PortT]) -> None:
        self._database = database
        self._port = port
        self._in_flight = InFlight()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[PortT]:
        async with self._database.read() as connection:
            yield self._port(connection, current_call().caller.tenant)

    @asynccontextmanager
    async def effect(self) -> AsyncIterator[Effect[PortT]]:
        call = current_call()
        refusal: CallerError | None = None
        async with self._in_flight.turn(call) as outcome:
            async with self._database.transaction() as connection:
                await fence(connection, call)
                if stored := await claim(connection, call):
                    outcome.set_result(stored)
                    stored.repeat(call)
                effect = Effect(self._port(connection, call.caller.tenant), call)
                try:
                    async with connection.begin_nested():
                        yield effect
                except CallerError as error:
                    refusal = error
                ended = effect.outcome(refusal)
                await record(connection, call, ended)
            outcome.set_result(ended)
        if refusal is not None:
            raise refusal


class MemoryStore(Generic[PortT]):
    """The twin in memory. `port` makes an empty port for a tenant; a failed effect leaves the port as it was."""

    def __init__(self, port: Callable[[], PortT]) -> None:
        self._port = port
        self._ports: dict[str, PortT] = {}
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._epochs: dict[tuple[str, str], int] = {}
        self._in_flight = InFlight()
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[PortT]:
        yield self._of_tenant(current_call().caller.tenant)

    @asynccontextmanager
    async def effect(self) -> AsyncIterator[Effect[PortT]]:
        call = current_call()
        key = (call.caller.tenant, call.effect_key)
        async with self._in_flight.turn(call) as outcome, self._writer:
            self._fence(call)
            if key in self._outcomes:
                self._outcomes[key].repeat(call)
            effect = Effect(copy.deepcopy(self._of_tenant(call.caller.tenant)), call)
            try:
                yield effect
            except CallerError as error:
                outcome.set_result(self._outcomes.setdefault(key, effect.outcome(error)))
                raise
            outcome.set_result(self._outcomes.setdefault(key, effect.outcome()))
            self._ports[call.caller.tenant] = effect.port

    def _fence(self, call: Call) -> None:
        run = (call.caller.tenant, call.header(metadata.RUN))
        if call.epoch is not None and call.epoch < self._epochs.setdefault(run, call.epoch):
            raise Fenced(run=run[1], epoch=call.epoch)
        if call.epoch is not None:
            self._epochs[run] = call.epoch

    def _of_tenant(self, tenant: str) -> PortT:
        return self._ports.setdefault(tenant, self._port())
