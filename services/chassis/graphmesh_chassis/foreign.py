"""Exactly once in somebody else's system (design invariant 3; E3).

What a provider does is in no transaction of ours. So the key is committed as started before the provider is called; the
provider gets a key of its own, made from ours; and what it did is recorded in the transaction that ends the effect. A
key that is left as started, by a crash, a lost answer or a deadline, says only that it may have happened: the next
repeat asks the provider, and sends again only what the provider surely has not.

That holds with a provider that does one thing for each key, however often that comes, and can be asked for it by it.
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
from graphmesh_chassis.effects import STARTED, Effect, Outcome, in_use, locking, of, outcome_of, table
from graphmesh_chassis.errors import CallerError, DependencyError, GraphmeshError, OutcomeUnknown

PortT = TypeVar("PortT")
DoneT = TypeVar("DoneT")

Send = Callable[[str], Awaitable[DoneT]]
"""Makes a provider do it, once for the key; returns what it did. A CallerError is a definite no, the provider's or our
own; any other error leaves open whether it was done."""
Find = Callable[[str], Awaitable[DoneT | None]]
"""What a provider has done for the key; None: surely nothing, and nothing will
come of what was sent. An error: it cannot say."""


class ForeignEffect(Effect[PortT], Generic[PortT, DoneT]):
    """An effect that a provider has made: what is left is to record it."""

    def __init__(self, port: PortT, call: Call, done: DoneT) -> None:
        super().__init__(port, call)
        self.done = done


def provider_key(call: Call) -> str:
    """The key that the provider gets: the same in each repeat, and tells nothing of ours."""
    return hashlib.sha256("\0".join((call.caller.tenant, call.effect_key, call.path)).encode()).hexdigest()


async def carry_out(call: Call, again: bool, send: Send[DoneT], find: Find[DoneT]) -> DoneT:
    """What the provider did for `call`; `again`: somebody may have sent it before.

    Raises:
        OutcomeUnknown: somebody may have, and the provider cannot say.
        As `send`.
    """
    key = provider_key(call)
    if again and (found := await _found(call, find, key)) is not None:
        return found
    return await send(key)


async def _found(call: Call, find: Find[DoneT], key: str) -> DoneT | None:
    try:
        return await find(key)
    except GraphmeshError as error:
        raise OutcomeUnknown(key=call.effect_key) from error


@contextmanager
def recording(call: Call) -> Iterator[None]:
    """Keep a refusal of the body from being taken for the outcome: the provider has done it by then."""
    try:
        yield
    except CallerError as error:
        raise RuntimeError(f"{call.path} refuses to record what its provider has done") from error


async def hold(connection: AsyncConnection, call: Call) -> int:
    """Hold the started key of `call` until its deadline, by the database's clock; the number of the attempt, from 1.

    Raises:
        IdempotencyKeyInUse: another call holds it.
    """
    now = await _clock(connection)
    free = sa.or_(table.c.held_until.is_(None), table.c.held_until <= now)
    values = {"attempt": table.c.attempt + 1, "held_until": now + timedelta(seconds=call.deadline.remaining)}
    taking = sa.update(table).where(of(call), table.c.result == STARTED, free).values(values)
    with locking(call):
        attempt = (await connection.execute(taking.returning(table.c.attempt))).scalar_one_or_none()
    if attempt is None:
        raise in_use(call)
    return int(attempt)


async def superseded(connection: AsyncConnection, call: Call, attempt: int) -> Outcome | None:
    """The outcome that another attempt has stored meanwhile; None where this is still the newest, and now locked.

    A process may be stopped for longer than it holds the key, and then go on. What it was told by the provider may be
    older than what the next attempt was told, so it has no say any more.

    Raises:
        IdempotencyKeyInUse: another attempt is under way.
    """
    with locking(call):
        row = (await connection.execute(sa.select(table).where(of(call)).with_for_update())).one()
    if row.result != STARTED:
        return outcome_of(row)
    if row.attempt != attempt:
        raise in_use(call)
    return None


@asynccontextmanager
async def letting_go(database: Database, call: Call, attempt: int) -> AsyncIterator[None]:
    """Let go of the key where the body fails or is cancelled, so that a repeat has nothing to wait for.

    Where that cannot be, and of a process that dies, the hold ends with the deadline.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError):
        mine = sa.and_(of(call), table.c.result == STARTED, table.c.attempt == attempt)
        with suppress(DependencyError):
            async with database.transaction() as connection:
                await connection.execute(sa.update(table).where(mine).values(held_until=None))
        raise


async def _clock(connection: AsyncConnection) -> datetime:
    """The database's time at the beginning of the transaction. SQLite has this machine's."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    return (await connection.execute(sa.select(sa.func.now()))).scalar_one()
