"""The unit of work between a servicer and its port: one transaction, one tenant, at most one effect.

In a servicer:

    async with store.read() as tickets:  # a consistent read
        ...
    async with store.effect() as effect:  # entered once for each idempotency key
        ticket = await effect.port.add(draft)
        return effect.respond(CreateTicketResponse(ticket=...))

An effect in a foreign system is made outside of the transaction, and the body only records its result:

    send = partial(provider.charge, request.amount)  # send(key) and find(key) take the provider's key
    async with store.foreign(send, provider.find) as effect:
        await effect.port.add(effect.result)
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
from graphmesh_chassis.effects import (
    STARTED,
    Effect,
    InFlight,
    Outcome,
    PendingOutcome,
    claim_key,
    error_outcome,
    fence,
    record_act,
    record_outcome,
    require_lease,
)
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import CallerError, Fenced
from graphmesh_chassis.foreign import (
    Find,
    ForeignEffect,
    Send,
    hold_key,
    make_effect,
    outcome_of_later_attempt,
    refusals_as_defects,
    release_on_failure,
)

PortT = TypeVar("PortT")
ResultT = TypeVar("ResultT")


class Store(Protocol[PortT]):
    """Opens a service's port for the tenant of the current call."""

    def read(self) -> AbstractAsyncContextManager[PortT]:
        """The port, on one consistent state. Changes through it are discarded."""
        ...

    def effect(self) -> AbstractAsyncContextManager[Effect[PortT]]:
        """The port, in the transaction that also stores the call's key and response.

        The body completes at most once for each key: a repeat never enters it. A `CallerError` of the body is an
        outcome like a response: the change is rolled back, the error is stored, and repeats get it too.

        Raises:
            IdempotencyKeyReused: the key was used with another request.
            IdempotencyKeyInUse: a call with the key is in progress for too long to wait for it.
            Fenced: the call has an earlier epoch of its run than the newest.
            LeaseExpired: the lease of the run may be over; nothing is changed.
        """
        ...

    def foreign(
        self, send: Send[ResultT], find: Find[ResultT]
    ) -> AbstractAsyncContextManager[ForeignEffect[PortT, ResultT]]:
        """The port, to record the provider's result, which `send` or `find` returned, as `effect.result`.

        `send` makes the effect, `find` queries it; both take the provider's key. An effect that may have been sent
        before is queried first, and sent again only where `find` returns None. A `CallerError` of `send` is an outcome
        like a response, so `send` checks business rules before it calls the provider. A `CallerError` of the body is a
        defect, since it comes too late. After any other failure the outcome is open until a repeat resolves it.

        Raises:
            OutcomeUnknown: the effect may have been made, and `find` cannot tell.
            IdempotencyKeyInUse: another call holds the key, until its deadline at the latest.
            As `effect`.
        """
        ...


def of_customer(port: Callable[[AsyncConnection, str, str], PortT]) -> Callable[[AsyncConnection, str], PortT]:
    """Make a `SqlStore`'s port of one that takes the customer of the current call too; empty where it has none."""
    return lambda connection, tenant: port(connection, tenant, current_call().caller.customer)


class SqlStore(Generic[PortT]):
    """A store over a database."""

    def __init__(self, database: Database, port: Callable[[AsyncConnection, str], PortT]) -> None:
        """`port` makes the port from a connection and the tenant."""
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
        async with self._in_flight.acquire(call) as outcome:
            async with self._database.transaction() as connection:
                await fence(connection, call)
                if stored := await claim_key(connection, call):
                    _end_with(stored, call, outcome)
                effect = Effect(self._port(connection, call.caller.tenant), call)
                try:
                    async with connection.begin_nested():
                        yield effect
                except CallerError as error:
                    refusal = error
                ended = effect.outcome(refusal)
                await record_outcome(connection, call, ended)
                require_lease(call)  # again: the body may have taken long
            outcome.set_result(ended)
        if refusal is not None:
            raise refusal

    @asynccontextmanager
    async def foreign(self, send: Send[ResultT], find: Find[ResultT]) -> AsyncIterator[ForeignEffect[PortT, ResultT]]:
        call = current_call()
        async with self._in_flight.acquire(call) as outcome:
            attempt = await self._start(call, outcome)
            async with release_on_failure(self._database, call, attempt):
                require_lease(call)
                try:
                    result = await make_effect(call, attempt > 1, send, find)
                except CallerError as refusal:
                    async with self._final_transaction(call, attempt, outcome) as connection:
                        await record_outcome(connection, call, ended := error_outcome(call, refusal))
                    outcome.set_result(ended)
                    raise
                async with self._final_transaction(call, attempt, outcome) as connection:
                    effect = ForeignEffect(self._port(connection, call.caller.tenant), call, result)
                    with refusals_as_defects(call):
                        yield effect
                    await record_outcome(connection, call, ended := effect.outcome())
                outcome.set_result(ended)

    async def _start(self, call: Call, outcome: PendingOutcome) -> int:
        """Commit the effect as STARTED; returns the number of the attempt, from 1."""
        async with self._database.transaction() as connection:
            await fence(connection, call)
            if stored := await claim_key(connection, call):
                _end_if_resolved(stored, call, outcome)
            else:
                await record_act(connection, call, Outcome(call.fingerprint(), STARTED))
            return await hold_key(connection, call)

    @asynccontextmanager
    async def _final_transaction(
        self, call: Call, attempt: int, outcome: PendingOutcome
    ) -> AsyncIterator[AsyncConnection]:
        """The transaction that stores the outcome, unless a later attempt has stored one."""
        async with self._database.transaction() as connection:
            if stored := await outcome_of_later_attempt(connection, call, attempt):
                _end_with(stored, call, outcome)
            yield connection


def _end_with(stored: Outcome, call: Call, outcome: PendingOutcome) -> NoReturn:
    """End `call`, and the calls that wait for it, with the stored outcome."""
    if not stored.is_open:
        outcome.set_result(stored)
    stored.repeat(call)


def _end_if_resolved(stored: Outcome, call: Call, outcome: PendingOutcome) -> None:
    """As `_end_with`, unless the stored outcome is open."""
    if not stored.is_open:
        _end_with(stored, call, outcome)
    stored.require_same(call)


class MemoryStore(Generic[PortT]):
    """The memory twin. A failed effect leaves its port unchanged."""

    def __init__(self, port: Callable[[], PortT]) -> None:
        """`port` makes the empty port of a tenant."""
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
        async with self._in_flight.acquire(call) as outcome, self._writer:
            self._fence(call)
            if key in self._outcomes:
                self._outcomes[key].repeat(call)
            effect = Effect(copy.deepcopy(self._of_tenant(call.caller.tenant)), call)
            try:
                yield effect
            except CallerError as error:
                require_lease(call)
                outcome.set_result(self._outcomes.setdefault(key, effect.outcome(error)))
                raise
            require_lease(call)
            outcome.set_result(self._outcomes.setdefault(key, effect.outcome()))
            self._ports[call.caller.tenant] = effect.port

    @asynccontextmanager
    async def foreign(self, send: Send[ResultT], find: Find[ResultT]) -> AsyncIterator[ForeignEffect[PortT, ResultT]]:
        call = current_call()
        key = (call.caller.tenant, call.effect_key)
        async with self._in_flight.acquire(call) as outcome:
            may_be_sent = self._start(call)
            require_lease(call)
            try:
                result = await make_effect(call, may_be_sent, send, find)
            except CallerError as refusal:
                self._outcomes[key] = ended = error_outcome(call, refusal)
                outcome.set_result(ended)
                raise
            async with self._writer:
                effect = ForeignEffect(copy.deepcopy(self._of_tenant(call.caller.tenant)), call, result)
                with refusals_as_defects(call):
                    yield effect
                self._outcomes[key] = ended = effect.outcome()
                self._ports[call.caller.tenant] = effect.port
            outcome.set_result(ended)

    def _start(self, call: Call) -> bool:
        """Store the effect as STARTED; returns whether an earlier attempt had. No other process shares the store."""
        self._fence(call)
        started = Outcome(call.fingerprint(), STARTED)
        stored = self._outcomes.setdefault((call.caller.tenant, call.effect_key), started)
        if not stored.is_open:
            stored.repeat(call)
        stored.require_same(call)
        return stored is not started

    def _fence(self, call: Call) -> None:
        require_lease(call)
        run = (call.caller.tenant, call.header(metadata.RUN))
        if call.epoch is not None and call.epoch < self._epochs.setdefault(run, call.epoch):
            raise Fenced(run=run[1], epoch=call.epoch)
        if call.epoch is not None:
            self._epochs[run] = call.epoch

    def _of_tenant(self, tenant: str) -> PortT:
        return self._ports.setdefault(tenant, self._port())
