"""Exactly-once effects at the receiver, by idempotency keys.

The key, the request's fingerprint, the outcome and the change itself are written in one transaction. A repeat gets the
stored outcome: a response or a CallerError. Nothing else of a failed attempt is kept.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NoReturn, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message
from google.rpc import status_pb2
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_chassis import audit_log, metadata
from graphmesh_chassis.audit_chain import digest
from graphmesh_chassis.audit_log import OK
from graphmesh_chassis.calls import Call, serialized
from graphmesh_chassis.database import UtcDateTime, dialect_insert
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import (
    CallerError,
    Fenced,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    LeaseExpired,
    OutcomeUnknown,
)
from graphmesh_chassis.status import from_status, to_status
from graphmesh_chassis.validation import check_response

PortT = TypeVar("PortT")
MessageT = TypeVar("MessageT", bound=Message)

LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's SQLSTATE for a wait that exceeded `lock_timeout`."""
RETRY_AFTER = 0.2
"""Seconds after which to retry a call whose key is in use."""
MAX_CACHED_OUTCOMES = 1000
"""The number of stored outcomes that a process caches."""
STARTED = "STARTED"
"""The result of an effect without an outcome. Only effects in foreign systems are committed as STARTED;
`foreign` counts their attempts and holds their keys."""

table = sa.Table(
    "effects",
    sa.MetaData(),
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("method", sa.String(255), nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("response", sa.LargeBinary),
    sa.Column("error", sa.LargeBinary),
    sa.Column("result", sa.String(255), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("held_until", UtcDateTime),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("run", sa.String(255), nullable=False),
    sa.Column("thread", sa.String(255), nullable=False),
    sa.Column("node", sa.String(255), nullable=False),
    sa.Column("epoch", sa.BigInteger),
    sa.Column("approval", sa.String(255), nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Index("effects_by_run", "tenant", "run"),
)
"""One row an effect. `audit_log` has a row for each outcome too, with the digest of `RECORDED`."""
RECORDED = ("method", "fingerprint", "result", "response", "error")
"""The columns that the audit log protects."""

epochs = sa.Table(
    "run_epochs",
    sa.MetaData(),
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("run", sa.String(255), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
)
"""The highest epoch of each run that made an effect here."""


class Replay(BaseException):
    """Skips the body of an effect whose key has a stored response. The effects hook catches it."""

    def __init__(self, response: bytes) -> None:
        self.response = response


@dataclass(frozen=True)
class Outcome:
    """The stored outcome of a key: the request's fingerprint, and a response or an error."""

    fingerprint: bytes
    result: str
    response: bytes | None = None
    error: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is unknown if the effect happened in a foreign system."""
        return self.result == STARTED

    def require_same(self, call: Call) -> None:
        """Check that `call` repeats the stored request.

        Raises:
            IdempotencyKeyReused: it is another request.
        """
        if self.fingerprint != call.fingerprint():
            raise IdempotencyKeyReused(key=call.effect_key)

    def repeat(self, call: Call) -> NoReturn:
        """End `call`, which has the same key, with the stored outcome.

        Raises:
            Replay: the outcome is a response.
            CallerError: the outcome is this error.
            IdempotencyKeyReused: the request is another one.
            OutcomeUnknown: the outcome is open.
        """
        self.require_same(call)
        call.is_audited = True
        if self.is_open:
            raise OutcomeUnknown(key=call.effect_key)
        if self.error is not None:
            raise from_status(status_pb2.Status.FromString(self.error))
        raise Replay(self.response or b"")


class Effect(Generic[PortT]):
    """An effect in progress: the port through which to make it, and its response."""

    def __init__(self, port: PortT, call: Call) -> None:
        self.port = port
        self._call = call
        self.response: Message | None = None

    def respond(self, message: MessageT) -> MessageT:
        """Set the response of the call and of every repeat. It is committed together with the change.

        Raises:
            InvalidResponse: it violates its contract; the change is rolled back.
        """
        check_response(message, self._call.path)
        self._call.validates_responses = False
        self.response = message
        return message

    def outcome(self, error: CallerError | None = None) -> Outcome:
        """The outcome to store: `error`, or the response."""
        if error is not None:
            return error_outcome(self._call, error)
        if self.response is None:
            raise RuntimeError(f"{self._call.path} ended its effect without respond()")
        return Outcome(self._call.fingerprint(), OK, serialized(self.response), None)


def error_outcome(call: Call, error: CallerError) -> Outcome:
    """The outcome of a call that failed with `error`."""
    return Outcome(call.fingerprint(), error.reason, None, to_status(error).SerializeToString())


PendingOutcome = asyncio.Future[Outcome | None]
"""Resolved with the outcome of a key once it is stored; with None where the attempt failed and stored none."""


class InFlight:
    """The keys that this process has in progress, and a cache of its latest outcomes.

    A repeat waits for the first call with its key and shares its outcome. The cache has only stored outcomes; it keeps
    bursts of repeats from the database.
    """

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, EffectKey], PendingOutcome] = {}
        self._latest: deque[tuple[str, EffectKey]] = deque()

    @asynccontextmanager
    async def acquire(self, call: Call) -> AsyncIterator[PendingOutcome]:
        """Hold the key of `call` while the body runs. The body resolves the outcome once it is stored.

        Raises:
            IdempotencyKeyInUse: the first call is still in progress after half of this call's remaining time.
            As `Outcome.repeat`: the first call has ended.
        """
        key = (call.caller.tenant, call.effect_key)
        while (first := self._outcomes.get(key)) is not None:
            await asyncio.wait((first,), timeout=call.deadline.remaining / 2)
            if not first.done():
                raise key_in_use(call)
            if (outcome := first.result()) is not None:
                outcome.repeat(call)
        self._outcomes[key] = pending = asyncio.get_running_loop().create_future()
        try:
            yield pending
        finally:
            if pending.done():
                self._cache(key)
            else:
                del self._outcomes[key]
                pending.set_result(None)

    def _cache(self, key: tuple[str, EffectKey]) -> None:
        self._latest.append(key)
        if len(self._latest) > MAX_CACHED_OUTCOMES:
            del self._outcomes[self._latest.popleft()]


def key_in_use(call: Call) -> IdempotencyKeyInUse:
    return IdempotencyKeyInUse(key=call.effect_key, retry_after=RETRY_AFTER)


def require_lease(call: Call) -> None:
    """Check that the lease of the run still holds, under which the effect is made.

    Epochs refuse a worker that another one has overtaken here. One that was overtaken elsewhere without knowing it is
    refused by the time: another worker may have claimed the run when the lease was over.

    Raises:
        LeaseExpired: the lease may be over.
    """
    if call.lease is not None and call.lease.remaining <= 0:
        raise LeaseExpired(run=call.header(metadata.RUN))


async def fence(connection: AsyncConnection, call: Call) -> None:
    """Check that the epoch of `call` is the newest one of its run, and that its lease holds.

    Writing the run's row locks it until the end of the transaction, so that of two concurrent epochs the lower one
    never commits after the higher one.

    Raises:
        Fenced: a higher epoch of the run has made an effect here.
        LeaseExpired: as `require_lease`.
    """
    require_lease(call)
    if call.epoch is None:
        return
    run = call.header(metadata.RUN)
    seen = dialect_insert(connection.dialect, epochs).values(tenant=call.caller.tenant, run=run, epoch=call.epoch)
    newest = seen.on_conflict_do_update(
        index_elements=[epochs.c.tenant, epochs.c.run],
        set_={"epoch": seen.excluded.epoch},
        where=epochs.c.epoch <= seen.excluded.epoch,
    ).returning(epochs.c.epoch)
    if (await connection.execute(newest)).one_or_none() is None:
        raise Fenced(run=run, epoch=call.epoch)


async def claim_key(connection: AsyncConnection, call: Call) -> Outcome | None:
    """Insert the key of `call`; where it exists already, return its stored outcome.

    On PostgreSQL the insert waits for another transaction that has inserted the key, at most for `lock_timeout`.

    Raises:
        IdempotencyKeyInUse: that transaction did not end in time.
    """
    row = {
        "tenant": call.caller.tenant,
        "key": call.effect_key,
        "method": call.path,
        "fingerprint": call.fingerprint(),
        "result": STARTED,
        "attempt": 0,
        "subject": call.caller.subject,
        "run": call.header(metadata.RUN),
        "thread": call.header(metadata.THREAD),
        "node": call.header(metadata.NODE),
        "epoch": call.epoch,
        "approval": call.header(metadata.APPROVAL),
        "create_time": datetime.now(UTC),
    }
    # RETURNING shows whether the row is new: the rowcount of an INSERT is not known on PostgreSQL.
    insert = dialect_insert(connection.dialect, table).values(row).on_conflict_do_nothing()
    with lock_timeout_as_key_in_use(call):
        inserted = (await connection.execute(insert.returning(table.c.key))).one_or_none()
    if inserted is not None:
        return None
    return outcome_of((await connection.execute(sa.select(table).where(has_key_of(call)))).one())


@contextmanager
def lock_timeout_as_key_in_use(call: Call) -> Iterator[None]:
    """Raise IdempotencyKeyInUse where the body exceeds `lock_timeout`: another process has locked the row of `call`."""
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise key_in_use(call) from error
        raise


async def record_outcome(connection: AsyncConnection, call: Call, outcome: Outcome) -> None:
    """Store the outcome of `call` in the row that `claim_key` has inserted, and in the audit log."""
    values = {"result": outcome.result, "response": outcome.response, "error": outcome.error}
    await connection.execute(sa.update(table).where(has_key_of(call)).values(values))
    await record_act(connection, call, outcome)


async def record_act(connection: AsyncConnection, call: Call, outcome: Outcome) -> None:
    """Write an outcome, or that an effect was started, to the audit log."""
    recorded = {"method": call.path, "fingerprint": outcome.fingerprint, "result": outcome.result}
    content = digest({**recorded, "response": outcome.response, "error": outcome.error})
    await audit_log.record(connection, call, outcome.result, content=content)


def has_key_of(call: Call) -> sa.ColumnElement[bool]:
    """The condition for the row of a call."""
    return sa.and_(table.c.tenant == call.caller.tenant, table.c.key == call.effect_key)


def outcome_of(row: sa.Row[Any]) -> Outcome:
    return Outcome(row.fingerprint, row.result, row.response, row.error)
