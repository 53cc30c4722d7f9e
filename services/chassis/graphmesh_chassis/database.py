"""A service's own database: SQLite when embedded, PostgreSQL in production, the same SQLAlchemy Core code on both."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import aiosqlite
from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Row,
    Select,
    Table,
    TypeDecorator,
    event,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from graphmesh_chassis.calls import current_deadline
from graphmesh_chassis.errors import DatabaseUnavailable, DeadlineExceeded, GraphmeshError
from graphmesh_chassis.migrations import is_current, upgrade

if TYPE_CHECKING:
    from graphmesh_chassis.alone import Alone

POOL_SIZE = 10
PING_TIMEOUT = 2.0
"""Seconds."""
OUT_OF_TIME = {"57014", "55P03"}
"""PostgreSQL's SQLSTATEs for a statement that ran into `statement_timeout` or `lock_timeout`."""
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Makes every statement of a PostgreSQL transaction see the same state, as SQLite does by itself."""
ALONE = {"graphmesh_alone": True}
"""The statements of a connection are transactions of their own."""


Insert: TypeAlias = sqlite.Insert | postgresql.Insert
"""An INSERT with `on_conflict_do_update` and `on_conflict_do_nothing`, which both databases write the same way."""


def dialect_insert(dialect: Dialect, table: Table) -> Insert:
    """An INSERT into `table` that can have an ON CONFLICT clause, for a connection's `dialect`."""
    return sqlite.insert(table) if dialect.name == "sqlite" else postgresql.insert(table)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Aware and in UTC on both sides; SQLite, which has no zones, stores it in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """Connections and transactions. Opened by `open_database`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writer = asyncio.Lock() if self.is_sqlite else nullcontext()
        self._alone: list[Alone] = []

    def insert(self, table: Table) -> Insert:
        """An INSERT into `table` that can have an ON CONFLICT clause."""
        return dialect_insert(self._engine.dialect, table)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that reads one consistent state. Where one query is enough, `rows` costs less.

        It ends with a commit: a rollback would make PostgreSQL's driver forget what it has prepared.

        Raises:
            DatabaseUnavailable: the database does not answer.
            DeadlineExceeded: the deadline of the current call ended a statement.
        """
        with translated():
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: committed when the body ends, rolled back when it raises. Raises as `read` does.

        SQLite has one writer; waiting for it here, in order, is fairer and cheaper than its busy loop.
        """
        with translated():
            async with self._writer, self._engine.connect() as connection:
                await connection.execution_options(graphmesh_write=True)
                async with connection.begin():
                    yield connection

    async def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """What one query finds, at the price of one round trip.

        The database is not told how much of the call's time is left: the end of that cancels whoever waits here, and so
        the query. Raises DatabaseUnavailable.
        """
        with translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(**ALONE)
                found: Sequence[Row[Any]] = (await connection.execute(query)).all()
                return found

    def alone(self) -> "Alone":
        """A connection of PostgreSQL for one writer's single statements; closed with the database."""
        from graphmesh_chassis.alone import Alone

        made = Alone(self._engine)
        self._alone.append(made)
        return made

    async def close(self) -> None:
        """Close every connection."""
        for alone in self._alone:
            await alone.close()
        await self._engine.dispose()

    async def ping(self) -> None:
        """Raises DatabaseUnavailable where the database does not answer soon."""
        with translated():
            async with asyncio.timeout(PING_TIMEOUT):
                await self.rows(select(literal_column("1")))

    async def migrate(self, migrations: Path) -> None:
        """Bring the schema to the newest revision in `migrations`, and to the chassis' own."""
        with translated():
            async with self._engine.connect() as connection:
                if await connection.run_sync(is_current, migrations):
                    return
            async with self._engine.connect() as connection:
                await connection.execution_options(graphmesh_write=True)
                async with connection.begin():
                    await connection.run_sync(upgrade, migrations)


@asynccontextmanager
async def open_database(url: str, migrations: Path | None = None) -> AsyncIterator[Database]:
    """Open the database at an SQLAlchemy `url` and bring it to the newest of `migrations`.

    Values of statements, which are customers' data, are kept out of its error messages, and so out of logs (H5).
    `sqlite+aiosqlite:///path` makes the file and its folder; `postgresql+psycopg://…` needs the database to be there.
    """
    ending = _Ending()
    engine = _sqlite(url, ending) if url.startswith("sqlite") else _postgresql(url)
    database = Database(engine)
    try:
        if migrations is not None:
            await database.migrate(migrations)
        yield database
    finally:
        await database.close()
        await ending.wait()


def _postgresql(url: str) -> AsyncEngine:
    """Transactions are begun here and not by the driver, which takes more round trips for the same."""
    engine = create_async_engine(
        url, pool_size=POOL_SIZE, max_overflow=0, hide_parameters=True, isolation_level="AUTOCOMMIT"
    )

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("graphmesh_alone", False):
            connection.exec_driver_sql("BEGIN" if options.get("graphmesh_write", False) else SNAPSHOT)
            _bound(connection)

    return engine


def _bound(connection: Connection) -> None:
    """Give PostgreSQL what is left of the call's time (D7); SQLite is cancelled from outside."""
    if (deadline := current_deadline()) is None:
        return
    milliseconds = max(1, round(deadline.remaining * 1000))
    connection.execute(
        text("SELECT set_config('statement_timeout', :ms, true), set_config('lock_timeout', :half, true)"),
        {"ms": str(milliseconds), "half": str(max(1, milliseconds // 2))},
    )


def _sqlite(url: str, ending: "_Ending") -> AsyncEngine:
    path = make_url(url).database or ":memory:"
    if path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, hide_parameters=True, async_creator=partial(ending.connected, path))
    dialect: Any = engine.sync_engine.dialect
    dialect.do_terminate = ending.begin

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would be deferred: see on_begin
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        """A deferred transaction that reads and then writes can fail half-way; an immediate one waits at its start."""
        writes = connection.get_execution_options().get("graphmesh_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


class _Ending:
    """The SQLite connections of cancelled tasks: each is closed by its thread when that is free.

    The dialect's own way waits for it in another task, which, cancelled once more, waits for ever; and it forgets one
    that is just being opened. Nobody waits here but `open_database`, at its end: a thread must not outlive the event
    loop that it answers to.
    """

    def __init__(self) -> None:
        self._closing: set[asyncio.Future[Any]] = set()

    async def connected(self, path: str) -> aiosqlite.Connection:
        """A new connection; closed as soon as it is open, where nobody waits for it any more."""
        connection = aiosqlite.connect(path)
        connection._thread.daemon = True
        opening = asyncio.ensure_future(connection)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._watch(opening)
            opening.add_done_callback(lambda opened: self._watch(opened.result().stop()))
            raise

    def begin(self, connection: Any) -> None:
        self._watch(connection.driver_connection.stop())

    async def wait(self) -> None:
        while self._closing:
            await asyncio.wait(self._closing)

    def _watch(self, closing: asyncio.Future[Any] | None) -> None:
        if closing is not None:
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class translated:
    """Turns the database's failures into the mesh's errors; what is wrong with a statement itself passes as it is."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if (translation := _translation(error)) is not None:
            raise translation from error


def _translation(error: BaseException | None) -> GraphmeshError | None:
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in OUT_OF_TIME:
        return DeadlineExceeded()
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseUnavailable()
    if isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorname", "") == "SQLITE_ERROR":
        return None  # a wrong statement, for which PostgreSQL's driver has a class of its own
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError):
        return DatabaseUnavailable()
    return None
