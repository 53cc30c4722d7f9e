"""Exactly-once effects in foreign systems, such as a payment provider.

A provider's effect is in no transaction of this service. So the key is committed as STARTED before the provider is
called with a key derived from it, and the provider's result is recorded in the transaction that ends the effect. A key
that a crash, a lost response or a deadline leaves STARTED means that the effect may have happened: the next repeat
queries the provider by its key, and sends again only where the provider certainly has not made the effect.

The provider has to make one effect for each key, however often it is sent, and to find its result by the key.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_chassis.calls import Call
from graphmesh_chassis.database import Database
from graphmesh_chassis.effects import (
    STARTED,
    Effect,
    Outcome,
    has_key_of,
    key_in_use,
    lock_timeout_as_key_in_use,
    outcome_of,
    table,
)
from graphmesh_chassis.errors import CallerError, DependencyError, GraphmeshError, OutcomeUnknown

PortT = TypeVar("PortT")
ResultT = TypeVar("ResultT")

Send = Callable[[str], Awaitable[ResultT]]
"""Takes the provider's key, has the provider make the effect once for it, and returns the result. A CallerError is a
definite refusal; any other error leaves open whether the effect was made."""
Find = Callable[[str], Awaitable[ResultT | None]]
"""Takes the provider's key and returns the result for it; None where the provider certainly has made no effect for it
and will make none. An error means that the provider cannot tell."""


class ForeignEffect(Effect[PortT], Generic[PortT, ResultT]):
    """An effect that the provider has made and this service has to record."""

    def __init__(self, port: PortT, call: Call, result: ResultT) -> None:
        super().__init__(port, call)
        self.result = result


def provider_key(call: Call) -> str:
    """The provider's key: equal in every repeat, and a hash, so that the provider learns nothing of the effect key."""
    return hashlib.sha256("\0".join((call.caller.tenant, call.effect_key, call.path)).encode()).hexdigest()


async def make_effect(call: Call, may_be_sent: bool, send: Send[ResultT], find: Find[ResultT]) -> ResultT:
    """Have the provider make the effect of `call`, and return its result.

    Args:
        may_be_sent: an earlier attempt may have called the provider, so that it is queried first.

    Raises:
        OutcomeUnknown: an earlier attempt may have called the provider, and the provider cannot tell.
        As `send`.
    """
    key = provider_key(call)
    if may_be_sent and (found := await _query_provider(call, find, key)) is not None:
        return found
    return await send(key)


async def _query_provider(call: Call, find: Find[ResultT], key: str) -> ResultT | None:
    try:
        return await find(key)
    except GraphmeshError as error:
        raise OutcomeUnknown(key=call.effect_key) from error


@contextmanager
def refusals_as_defects(call: Call) -> Iterator[None]:
    """Raise a CallerError of the body as a defect: it comes too late, since the provider has made the effect."""
    try:
        yield
    except CallerError as error:
        raise RuntimeError(f"{call.path} refuses to record the effect that its provider has made") from error


async def hold_key(connection: AsyncConnection, call: Call) -> int:
    """Hold the STARTED key of `call` until its deadline, by the database's clock; returns the attempt's number, from 1.

    A hold that ends after the method's timeout was made before that clock jumped back, and holds no longer.

    Raises:
        IdempotencyKeyInUse: another call holds the key.
    """
    now = await _database_time(connection)
    longest = now + timedelta(seconds=call.policy.timeout)
    free = sa.or_(table.c.held_until.is_(None), sa.not_(table.c.held_until.between(now, longest)))
    values = {"attempt": table.c.attempt + 1, "held_until": now + timedelta(seconds=call.deadline.remaining)}
    update = sa.update(table).where(has_key_of(call), table.c.result == STARTED, free).values(values)
    with lock_timeout_as_key_in_use(call):
        attempt = (await connection.execute(update.returning(table.c.attempt))).scalar_one_or_none()
    if attempt is None:
        raise key_in_use(call)
    return int(attempt)


async def outcome_of_later_attempt(connection: AsyncConnection, call: Call, attempt: int) -> Outcome | None:
    """The outcome that a later attempt has stored; None where `attempt` is the latest, whose row is locked then.

    A process may be paused for longer than it holds the key. When it resumes, its result from the provider may be older
    than that of the later attempt, so it must not be recorded.

    Raises:
        IdempotencyKeyInUse: a later attempt is in progress.
    """
    with lock_timeout_as_key_in_use(call):
        row = (await connection.execute(sa.select(table).where(has_key_of(call)).with_for_update())).one()
    if row.result != STARTED:
        return outcome_of(row)
    if row.attempt != attempt:
        raise key_in_use(call)
    return None


@asynccontextmanager
async def release_on_failure(database: Database, call: Call, attempt: int) -> AsyncIterator[None]:
    """Release the key where the body fails or is cancelled, so that a repeat need not wait.

    Where the database does not answer, or the process dies, the hold ends at the call's deadline.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError):
        held = sa.and_(has_key_of(call), table.c.result == STARTED, table.c.attempt == attempt)
        with suppress(DependencyError):
            async with database.transaction() as connection:
                await connection.execute(sa.update(table).where(held).values(held_until=None))
        raise


async def _database_time(connection: AsyncConnection) -> datetime:
    """The database's time at the beginning of the transaction; SQLite uses the clock of this machine."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    return (await connection.execute(sa.select(sa.func.now()))).scalar_one()
