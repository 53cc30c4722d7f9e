"""The unit of work between a servicer and its port: one transaction, one tenant, at most one effect.

In a servicer:

    async with store.read() as tickets:  # a consistent read
        ...
    async with store.effect() as effect:  # entered once for each idempotency key
        ticket = await effect.port.add(draft)
        return effect.respond(CreateTicketResponse(ticket=...))

Where the effect is in somebody else's system, that is called outside of the transaction, and the body only records:

    send = partial(provider.charge, request.amount)  # send(key), find(key): the key is the provider's
    async with store.foreign(send, provider.find) as effect:
        await effect.port.add(effect.done)
        return effect.respond(ChargeResponse(charge=...))
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, NoReturn, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_chassis import metadata
from graphmesh_chassis.calls import Call, current_call
from graphmesh_chassis.database import Database
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.effects import STARTED, Effect, InFlight, Outcome, Turn, claim, fence, record, refused
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import CallerError, Fenced
from graphmesh_chassis.foreign import Find, ForeignEffect, Send, carry_out, hold, letting_go, recording, superseded

PortT = TypeVar("PortT")
DoneT = TypeVar("DoneT")


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

    def foreign(self, send: Send[DoneT], find: Find[DoneT]) -> AbstractAsyncContextManager[ForeignEffect[PortT, DoneT]]:
        """The port, to record what a provider did: `effect.done`, what `send` or `find` returned.

        `send` makes the effect, `find` looks it up; both get the provider's key, which is not ours. A key whose effect
        was begun and is open is looked up first, and sent again only where `find` returns None. A `CallerError` out of
        `send` is an outcome like a response; rules that may say no are asked there, before the provider is. Out of the
        body it is a defect: it is too late to refuse. What fails otherwise stays open until a repeat settles it.

        Raises:
            OutcomeUnknown: the effect may have been made, and `find` cannot say.
            IdempotencyKeyInUse: another call works on the key, no longer than its deadline.
            As `effect`.
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
                    _repeat(stored, call, outcome)
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

    @asynccontextmanager
    async def foreign(self, send: Send[DoneT], find: Find[DoneT]) -> AsyncIterator[ForeignEffect[PortT, DoneT]]:
        call = current_call()
        async with self._in_flight.turn(call) as outcome:
            attempt = await self._begin(call, outcome)
            async with letting_go(self._database, call, attempt):
                try:
                    done = await carry_out(call, attempt > 1, send, find)
                except CallerError as refusal:
                    async with self._ending(call, attempt, outcome) as connection:
                        await record(connection, call, ended := refused(call, refusal))
                    outcome.set_result(ended)
                    raise
                async with self._ending(call, attempt, outcome) as connection:
                    effect = ForeignEffect(self._port(connection, call.caller.tenant), call, done)
                    with recording(call):
                        yield effect
                    await record(connection, call, ended := effect.outcome())
                outcome.set_result(ended)

    async def _begin(self, call: Call, outcome: Turn) -> int:
        """Commit that the effect is begun; the number of the attempt, from 1."""
        async with self._database.transaction() as connection:
            await fence(connection, call)
            if stored := await claim(connection, call):
                _repeat_ended(stored, call, outcome)
            return await hold(connection, call)

    @asynccontextmanager
    async def _ending(self, call: Call, attempt: int, outcome: Turn) -> AsyncIterator[AsyncConnection]:
        """The transaction that ends the effect, unless another attempt has."""
        async with self._database.transaction() as connection:
            if stored := await superseded(connection, call, attempt):
                _repeat(stored, call, outcome)
            yield connection


def _repeat(stored: Outcome, call: Call, outcome: Turn) -> NoReturn:
    """End `call` with what is stored, which others who wait for it get too."""
    if not stored.is_open:
        outcome.set_result(stored)
    stored.repeat(call)


def _repeat_ended(stored: Outcome, call: Call, outcome: Turn) -> None:
    """The same of an effect that has ended; of one that is open, nothing."""
    if not stored.is_open:
        _repeat(stored, call, outcome)
    stored.require_same(call)


class MemoryStore(Generic[PortT]):
    """The twin in memory. `port` makes an empty port for a tenant; a failed effect leaves the port as it was."""

    def __init__(self, port: Callable[[], PortT]) -> None:
        self._port = port
        self._ports: dict[str, PortT] = {}
        self._outcomes: dict[tuple[str, EffectKey], Outcome] = {}
        self._epochs: dict[tuple[str, str], Epoch] = {}
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

    @asynccontextmanager
    async def foreign(self, send: Send[DoneT], find: Find[DoneT]) -> AsyncIterator[ForeignEffect[PortT, DoneT]]:
        call = current_call()
        key = (call.caller.tenant, call.effect_key)
        async with self._in_flight.turn(call) as outcome:
            again = self._begin(call)
            try:
                done = await carry_out(call, again, send, find)
            except CallerError as refusal:
                self._outcomes[key] = ended = refused(call, refusal)
                outcome.set_result(ended)
                raise
            async with self._writer:
                effect = ForeignEffect(copy.deepcopy(self._of_tenant(call.caller.tenant)), call, done)
                with recording(call):
                    yield effect
                self._outcomes[key] = ended = effect.outcome()
                self._ports[call.caller.tenant] = effect.port
            outcome.set_result(ended)

    def _begin(self, call: Call) -> bool:
        """Whether the effect was begun before. Nobody else works on it: this is the only process."""
        self._fence(call)
        begun = Outcome(call.fingerprint(), STARTED)
        stored = self._outcomes.setdefault((call.caller.tenant, call.effect_key), begun)
        if not stored.is_open:
            stored.repeat(call)
        stored.require_same(call)
        return stored is not begun

    def _fence(self, call: Call) -> None:
        run = (call.caller.tenant, call.header(metadata.RUN))
        if call.epoch is not None and call.epoch < self._epochs.setdefault(run, call.epoch):
            raise Fenced(run=run[1], epoch=call.epoch)
        if call.epoch is not None:
            self._epochs[run] = call.epoch

    def _of_tenant(self, tenant: str) -> PortT:
        return self._ports.setdefault(tenant, self._port())
