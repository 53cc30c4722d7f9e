"""Exactly once at the receiver (design invariant 3; E1, E2).

The idempotency key, the request's fingerprint, the outcome and the change itself are written in one transaction. A
repeat gets the stored outcome, be it a response or an error of the caller's; nothing else of a failed try is kept.
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

from graphmesh_chassis import metadata
from graphmesh_chassis.calls import Call, serialized
from graphmesh_chassis.database import UtcDateTime, dialect_insert
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import CallerError, Fenced, IdempotencyKeyInUse, IdempotencyKeyReused, OutcomeUnknown
from graphmesh_chassis.status import from_status, to_status
from graphmesh_chassis.validation import check_response

PortT = TypeVar("PortT")
MessageT = TypeVar("MessageT", bound=Message)

LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's SQLSTATE for a wait that ran into `lock_timeout`."""
RETRY_AFTER = 0.2
"""Seconds after which a repeat of a call that is under way may ask again."""
LATEST = 1000
"""How many outcomes a process keeps at hand."""
STARTED, OK = "STARTED", "OK"
"""The result of an effect, where it is not the reason of an error. As started is only seen what happens in somebody
else's system: see `foreign.py`, which counts its attempts and says until when somebody works on it."""

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
"""One row an effect. It is the audit log too (E5): who caused it, from which run and node, who agreed, how it ended."""


epochs = sa.Table(
    "run_epochs",
    sa.MetaData(),
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("run", sa.String(255), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
)
"""The highest epoch that was seen of each run."""


class Replay(BaseException):
    """Ends an effect before its body: the key has a stored response. Caught by the effects hook, never seen outside."""

    def __init__(self, response: bytes) -> None:
        self.response = response


@dataclass(frozen=True)
class Outcome:
    """What is stored under a key: the request's fingerprint, and a response or an error."""

    fingerprint: bytes
    result: str
    response: bytes | None = None
    error: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may or may not have happened in somebody else's system."""
        return self.result == STARTED

    def require_same(self, call: Call) -> None:
        """Raises IdempotencyKeyReused where `call` is another request."""
        if self.fingerprint != call.fingerprint():
            raise IdempotencyKeyReused(key=call.effect_key)

    def repeat(self, call: Call) -> NoReturn:
        """End `call`, which came with the same key.

        Raises:
            Replay: the outcome is a response.
            CallerError: it is an error.
            IdempotencyKeyReused: the request is another one.
            OutcomeUnknown: it is open.
        """
        self.require_same(call)
        if self.is_open:
            raise OutcomeUnknown(key=call.effect_key)
        if self.error is not None:
            raise from_status(status_pb2.Status.FromString(self.error))
        raise Replay(self.response or b"")


class Effect(Generic[PortT]):
    """An effect under way: the port to make it through, and the place for its response."""

    def __init__(self, port: PortT, call: Call) -> None:
        self.port = port
        self._call = call
        self.response: Message | None = None

    def respond(self, message: MessageT) -> MessageT:
        """Set the response that every repeat will get; committed with the change.

        Raises:
            InvalidResponse: it breaks its contract; the change is rolled back.
        """
        check_response(message, self._call.path)
        self._call.response_checked = True
        self.response = message
        return message

    def outcome(self, error: CallerError | None = None) -> Outcome:
        """How it ended: with `error`, or with the response."""
        if error is not None:
            return refused(self._call, error)
        if self.response is None:
            raise RuntimeError(f"{self._call.path} ended its effect without respond()")
        return Outcome(self._call.fingerprint(), OK, serialized(self.response), None)


def refused(call: Call, error: CallerError) -> Outcome:
    """The outcome of a call that was told no."""
    return Outcome(call.fingerprint(), error.reason, None, to_status(error).SerializeToString())


Turn = asyncio.Future[Outcome | None]
"""Of a call that works on its key: gets the outcome as soon as that is stored."""


class InFlight:
    """The keys that this process works on and its latest outcomes: a repeat waits for the first and shares its outcome.

    The outcomes, which are stored before they get here, spare the database a storm of repeats.
    """

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, EffectKey], Turn] = {}
        self._latest: deque[tuple[str, EffectKey]] = deque()

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[Turn]:
        """Hold the key of `call` while the body runs; the body sets the outcome, as soon as that is stored.

        Raises:
            IdempotencyKeyInUse: the first has taken more than half of the time that this call has.
            As `Outcome.repeat`: the first has ended.
        """
        key = (call.caller.tenant, call.effect_key)
        while (first := self._outcomes.get(key)) is not None:
            await asyncio.wait((first,), timeout=call.deadline.remaining / 2)
            if not first.done():
                raise in_use(call)
            if (outcome := first.result()) is not None:
                outcome.repeat(call)
        self._outcomes[key] = mine = asyncio.get_running_loop().create_future()
        try:
            yield mine
        finally:
            if mine.done():
                self._remember(key)
            else:
                del self._outcomes[key]
                mine.set_result(None)

    def _remember(self, key: tuple[str, EffectKey]) -> None:
        self._latest.append(key)
        if len(self._latest) > LATEST:
            del self._outcomes[self._latest.popleft()]


def in_use(call: Call) -> IdempotencyKeyInUse:
    return IdempotencyKeyInUse(key=call.effect_key, retry_after=RETRY_AFTER)


async def fence(connection: AsyncConnection, call: Call) -> None:
    """Let only the newest epoch of a run through (design invariant 4).

    The row of the run is written, hence held, so that of two epochs at once the lower is never the later.

    Raises:
        Fenced: a higher epoch of the run was seen here.
    """
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


async def claim(connection: AsyncConnection, call: Call) -> Outcome | None:
    """Write the key of `call`; returns the outcome that is stored under it where there is one already.

    On PostgreSQL the insert waits for another transaction that has written the same key, at most for `lock_timeout`.

    Raises:
        IdempotencyKeyInUse: another process still works on it.
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
    # RETURNING tells whether the row is new: the rowcount of an INSERT is not known on PostgreSQL.
    insert = dialect_insert(connection.dialect, table)
    claiming = insert.values(row).on_conflict_do_nothing().returning(table.c.key)
    with locking(call):
        inserted = (await connection.execute(claiming)).one_or_none()
    if inserted is not None:
        return None
    return outcome_of((await connection.execute(sa.select(table).where(of(call)))).one())


@contextmanager
def locking(call: Call) -> Iterator[None]:
    """Raises IdempotencyKeyInUse where the body waits too long for another process that writes the row of `call`."""
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise in_use(call) from error
        raise


async def record(connection: AsyncConnection, call: Call, outcome: Outcome) -> None:
    """Store the outcome of `call` under its key, which `claim` has written."""
    values = {"result": outcome.result, "response": outcome.response, "error": outcome.error}
    await connection.execute(sa.update(table).where(of(call)).values(values))


def of(call: Call) -> sa.ColumnElement[bool]:
    """Selects the row of a call."""
    return sa.and_(table.c.tenant == call.caller.tenant, table.c.key == call.effect_key)


def outcome_of(row: sa.Row[Any]) -> Outcome:
    return Outcome(row.fingerprint, row.result, row.response, row.error)
