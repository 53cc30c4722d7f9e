"""A service's own database: SQLite when embedded, PostgreSQL in production, the same SQLAlchemy Core code on both."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import aiosqlite
from pydantic import SecretStr
from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Row,
    Select,
    Table,
    TypeDecorator,
    event,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from graphmesh_chassis.admission import Admission
from graphmesh_chassis.calls import current_deadline
from graphmesh_chassis.errors import DatabaseUnavailable, DeadlineExceeded, GraphmeshError
from graphmesh_chassis.migrations import is_current, upgrade
from graphmesh_chassis.settings import reveal
from graphmesh_chassis.sqlite_connection import connect as connect_sqlite
from graphmesh_chassis.telemetry.sql_spans import record_statements
from graphmesh_chassis.tenant_turns import CURRENT_TENANT, urgent

if TYPE_CHECKING:
    from graphmesh_chassis.single_statement_connection import SingleStatementConnection

POOL_SIZE = 10
PING_TIMEOUT = 2.0
"""Seconds."""
BUSY_MS = 5_000
"""How long a transaction on SQLite waits for the writer of another process, in milliseconds."""
MIGRATION_MS = 600_000
"""The same for a migration, as of another replica that starts at the same time."""
TIMEOUT_SQLSTATES = {"57014", "55P03"}
"""PostgreSQL's SQLSTATEs for a statement that exceeded `statement_timeout` or `lock_timeout`."""
READ_ONLY = "25006"
"""PostgreSQL's refusal of a write in a transaction that may not write."""
TOO_LARGE = "54"
"""The class of PostgreSQL's SQLSTATEs for a value that exceeds a limit of the server, such as that of a key."""
BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Begins a PostgreSQL transaction whose statements all see the same state, as SQLite's do by default."""
PROTOCOL_VIOLATION = "08P01"
"""The SQLSTATE with which a pooler in statement mode refuses a transaction and closes the connection."""
POOLER_PROBES = 5
"""How often to probe for shared sessions: other clients of a pooler may take the session in between."""
AUTOCOMMIT = {"graphmesh_autocommit": True}
"""The execution option of a connection whose statements are transactions of their own."""


class SharedSessions(ValueError):
    """The database's URL leads to a connection pooler that gives a client another session in each transaction."""

    def __init__(self) -> None:
        super().__init__(
            "it leads to a connection pooler in transaction or statement mode, in which prepared statements and "
            "advisory locks get lost; set pool_mode = session for this database in the pooler (PgBouncer), or give the "
            "address of PostgreSQL itself"
        )


Insert: TypeAlias = sqlite.Insert | postgresql.Insert
"""An INSERT with `on_conflict_do_update` and `on_conflict_do_nothing`, which both databases write the same way."""


def dialect_insert(dialect: Dialect, table: Table) -> Insert:
    """An INSERT into `table` that can have an ON CONFLICT clause, for a connection's `dialect`."""
    return sqlite.insert(table) if dialect.name == "sqlite" else postgresql.insert(table)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: an aware datetime in UTC. SQLite, which has no time zones, stores it in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """Connections and transactions of one database; `open_database` opens it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._places = Admission(POOL_SIZE, 0)
        """Of connections: one that is free is the next of the tenant that holds the fewest."""
        self._writers = Admission(1, 0) if self.is_sqlite else self._places
        self._single_statement_connections: list[SingleStatementConnection] = []

    @property
    def connections_in_use(self) -> int:
        return self._places.active if self._writers is self._places else self._places.active + self._writers.active

    def insert(self, table: Table) -> Insert:
        """An INSERT into `table` that can have an ON CONFLICT clause."""
        return dialect_insert(self._engine.dialect, table)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A read transaction on one consistent state. For a single query `rows` costs less.

        It ends with a commit: after a rollback PostgreSQL's driver would discard its prepared statements.

        Raises:
            DatabaseUnavailable: the database does not answer.
            DeadlineExceeded: a statement exceeded the deadline of the current call.
        """
        with mesh_errors():
            async with self._connected() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: committed when the body ends, rolled back when it raises.

        SQLite has one writer, in which tenants take turns. Waiting for it here costs less than its busy loop.

        Raises:
            As `read`.
        """
        with mesh_errors(is_writing=True):
            async with self._writers.part(CURRENT_TENANT.get()):
                with urgent() if self.is_sqlite else nullcontext():
                    async with self._engine.connect() as connection:
                        await connection.execution_options(graphmesh_write=True)
                        async with connection.begin():
                            yield connection

    async def rows(self, query: Select[Any], parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """The rows of one query, in one round trip. A query that is made once, with `parameters`, costs less.

        The deadline of the current call sets no statement timeout. It cancels the waiting task, and so the query.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with mesh_errors():
            async with self._connected() as connection:
                await connection.execution_options(**AUTOCOMMIT)
                rows: Sequence[Row[Any]] = (await connection.execute(query, parameters)).all()
                return rows

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        async with self._places.part(CURRENT_TENANT.get()), self._engine.connect() as connection:
            yield connection

    def single_statement_connection(self) -> "SingleStatementConnection":
        """A PostgreSQL connection for one writer's single statements; closed with the database."""
        from graphmesh_chassis.single_statement_connection import SingleStatementConnection

        connection = SingleStatementConnection(self._engine)
        self._single_statement_connections.append(connection)
        return connection

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._single_statement_connections:
            await connection.close()
        await self._engine.dispose()

    async def ping(self) -> None:
        """Execute a trivial query.

        Raises:
            DatabaseUnavailable: the database does not answer within PING_TIMEOUT.
        """
        with mesh_errors():
            async with asyncio.timeout(PING_TIMEOUT):
                await self.rows(select(literal_column("1")))

    async def migrate(self, migrations: Path) -> None:
        """Migrate the schema to the newest revision in `migrations` and to the chassis' newest."""
        with mesh_errors():
            async with self._engine.connect() as connection:
                if await connection.run_sync(is_current, migrations):
                    return
            async with self._engine.connect() as connection, _without_time_limits(connection):
                await connection.execution_options(graphmesh_write=True)
                async with connection.begin():
                    await connection.run_sync(upgrade, migrations)


@asynccontextmanager
async def open_database(url: str | SecretStr, migrations: Path | None = None) -> AsyncIterator[Database]:
    """Open the database at an SQLAlchemy `url` and migrate it to the newest of `migrations`.

    `sqlite+aiosqlite:///path` creates the file and its folder; the database of `postgresql+psycopg://…` has to exist.
    Error messages, and so logs, do not contain the values of statements, which are customers' data.

    Raises:
        SharedSessions: `url` leads to a connection pooler in transaction mode; only checked with `migrations`.
        DatabaseUnavailable: the database does not answer; only with `migrations`.
    """
    closer = _ConnectionCloser()
    revealed = reveal(url)
    engine = _sqlite(revealed, closer) if revealed.startswith("sqlite") else _postgresql(revealed)
    record_statements(engine.sync_engine)
    database = Database(engine)
    try:
        if migrations is not None:
            if not database.is_sqlite:
                await _require_own_sessions(engine)
            await database.migrate(migrations)
        yield database
    finally:
        await database.close()
        await closer.wait_closed()


class UnreadableJson(dict[str, Any]):
    """JSON of a row that cannot be parsed; it has no members. One such value does not fail the rows around it."""


def stored_json(text: str) -> Any:
    """Parse the JSON of a column: too many digits or levels make it unreadable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return UnreadableJson()


def _postgresql(url: str) -> AsyncEngine:
    """An engine whose transactions are begun here and not by the driver, which takes more round trips."""
    from graphmesh_chassis.postgresql_connection import PostgresqlConnection

    engine = create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        json_deserializer=stored_json,
        connect_args={"async_creator_fn": PostgresqlConnection.connect},
    )

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("graphmesh_autocommit", False):
            connection.exec_driver_sql("BEGIN" if options.get("graphmesh_write", False) else BEGIN_SNAPSHOT)
            _set_timeouts(connection)

    return engine


@asynccontextmanager
async def _without_time_limits(connection: AsyncConnection) -> AsyncIterator[None]:
    """Let statements on a connection take any time while the body runs, and wait for another process that migrates."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if connection.dialect.name == "sqlite":
        await driver.execute(f"PRAGMA busy_timeout={MIGRATION_MS}")
        try:
            yield
        finally:
            await driver.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        return
    limit = driver.response_seconds
    driver.response_seconds = None
    try:
        yield
    finally:
        driver.response_seconds = limit


async def _require_own_sessions(engine: AsyncEngine) -> None:
    """Raises SharedSessions where two open connections have the same session, or one has several."""
    with mesh_errors():
        try:
            shared = await _shares_sessions(engine)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != PROTOCOL_VIOLATION:
                raise
            shared = True
    if shared:
        raise SharedSessions()


async def _shares_sessions(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        await connection.execution_options(**AUTOCOMMIT)
        driver: Any = (await connection.get_raw_connection()).driver_connection
        if await _session(connection) == driver.info.backend_pid:
            return False  # PostgreSQL itself: poolers announce process ids of their own, in session mode too
        for _ in range(POOLER_PROBES):
            if await _gives_session_away(engine, connection):
                return True
    return False


async def _gives_session_away(engine: AsyncEngine, connection: AsyncConnection) -> bool:
    """Whether a transaction of another connection gets the session of an open `connection`."""
    before = await _session(connection)
    async with engine.connect() as other:
        taken = await _session(other)
        return taken == before or await _session(connection) != before


async def _session(connection: AsyncConnection) -> int:
    """The process of PostgreSQL that executes the connection's statements now."""
    return int((await connection.execute(select(func.pg_backend_pid()))).scalar_one())


def _set_timeouts(connection: Connection) -> None:
    """Set PostgreSQL's timeouts from the deadline of the current call. SQLite's statements end with their task."""
    if (deadline := current_deadline()) is None:
        return
    milliseconds = max(1, round(deadline.remaining * 1000))
    connection.execute(
        text("SELECT set_config('statement_timeout', :ms, true), set_config('lock_timeout', :half, true)"),
        {"ms": str(milliseconds), "half": str(max(1, milliseconds // 2))},
    )


def _sqlite(url: str, closer: "_ConnectionCloser") -> AsyncEngine:
    path = make_url(url).database or ":memory:"
    if path != ":memory:":
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_async_engine(
        url, hide_parameters=True, async_creator=partial(closer.connect, path), json_deserializer=stored_json
    )
    dialect: Any = engine.sync_engine.dialect
    dialect.do_terminate = closer.close_soon

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would be deferred: see on_begin
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        """Begin write transactions as immediate: a deferred one that reads and then writes can fail half-way."""
        options = connection.get_execution_options()
        driver: Any = connection.connection.driver_connection
        if not options.get("graphmesh_autocommit", False):
            driver.begin("BEGIN IMMEDIATE" if options.get("graphmesh_write", False) else "BEGIN")

    return engine


class _ConnectionCloser:
    """Closes the SQLite connections of cancelled tasks, each in its own thread when that is free.

    The dialect's own way waits for the thread in another task, which never ends where it is cancelled again, and it
    loses a connection that is being opened. Here only `open_database` waits, at its end: a thread must not outlive the
    event loop to which it reports.
    """

    def __init__(self) -> None:
        self._closing: set[asyncio.Future[Any]] = set()

    async def connect(self, path: str) -> aiosqlite.Connection:
        """Open a connection. Where the task is cancelled meanwhile, it is closed as soon as it is open."""
        connection = connect_sqlite(path)
        opening = asyncio.ensure_future(connection)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._track(opening)
            opening.add_done_callback(lambda opened: self._track(opened.result().stop()))
            raise

    def close_soon(self, connection: Any) -> None:
        """Begin to close a connection of the pool."""
        self._track(connection.driver_connection.stop())

    async def wait_closed(self) -> None:
        while self._closing:
            await asyncio.wait(self._closing)

    def _track(self, closing: asyncio.Future[Any] | None) -> None:
        if closing is not None:
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class mesh_errors:
    """A context manager that raises failures of the database as errors of the mesh. A bad statement's error is kept."""

    def __init__(self, *, is_writing: bool = False) -> None:
        """With `is_writing` a server that takes no writes, such as a standby, or one without disk, is unavailable."""
        self._is_writing = is_writing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if (mesh_error := _mesh_error(error, self._is_writing)) is not None:
            raise mesh_error from error


def _mesh_error(error: BaseException | None, is_writing: bool) -> GraphmeshError | None:
    if is_writing and isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == READ_ONLY:
        return DatabaseUnavailable()
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in TIMEOUT_SQLSTATES:
        return DeadlineExceeded()
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DatabaseUnavailable()
    if isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorname", "") == "SQLITE_ERROR":
        return None  # a bad statement, for which PostgreSQL's driver has another class
    if isinstance(error, OperationalError) and (getattr(error.orig, "sqlstate", None) or "").startswith(TOO_LARGE):
        return None  # likewise: the same statement fails again
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError):
        return DatabaseUnavailable()
    return None
