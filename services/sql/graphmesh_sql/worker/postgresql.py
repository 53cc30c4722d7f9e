"""The engine over a PostgreSQL database.

Besides the guard, three measures prevent a query from writing: the transaction is READ ONLY, the query is a subquery of
a SELECT, and the role of the URL should have no privilege but SELECT on what it may read:

    CREATE ROLE analyst LOGIN PASSWORD '…';
    GRANT USAGE ON SCHEMA public TO analyst;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst;
    ALTER ROLE analyst SET temp_file_limit = '512MB';

A connection serves one query, so that no session state of a query is left for the next.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import Connection, IsolationLevel, RawCursor
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier
from psycopg.types.string import TextLoader

from graphmesh_sql.domain import (
    ROW_BYTES,
    TOO_LARGE_ROW,
    ColumnType,
    Estimate,
    Head,
    LimitExceeded,
    Query,
    ResultColumn,
    ResultPart,
    Rule,
    RuleBroken,
    Schema,
    Stopped,
    Unanswerable,
    Unchanged,
    Unreachable,
    Value,
    batches,
)
from graphmesh_sql.worker.postgresql_guard import Checked, check
from graphmesh_sql.worker.postgresql_memory import bounded_memory, is_bounded
from graphmesh_sql.worker.postgresql_schema import TYPES, describe
from graphmesh_sql.worker.postgresql_sizes import MAX_COMPUTED
from graphmesh_sql.worker.settings import WorkerSettings

CONNECT_SECONDS: Final = 5
DESCRIBE_SECONDS: Final = 8.0
PING_SECONDS: Final = 2.0
MESSAGE_CHARACTERS: Final = 500
"""Of the database's messages, which quote the query's values."""

NATIVE_TYPES: Final = {ColumnType.BOOL, ColumnType.INT64, ColumnType.DOUBLE, ColumnType.BYTES}
"""Types whose values are not sent as text."""
FIXED_BYTES: Final = 32
"""Upper bound of a value's text, for types of a fixed size."""
FIXED_TYPES: Final = frozenset(
    ("bool", "int2", "int4", "int8", "oid", "float4", "float8", "date", "timestamp", "timestamptz")
)
TEXT_TYPES: Final = frozenset(("text", "varchar", "bpchar", "bytea"))
MARKER: Final = "graphmesh: too large a row"
WORK_MEM: Final = 16 * 1024 * 1024

SETTINGS: Final = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",  # as the parser of the guard reads strings
    "row_security": "on",
    "work_mem": f"{WORK_MEM // 1024}kB",
    "hash_mem_multiplier": "1",
    "max_parallel_workers_per_gather": "0",  # each worker would have work_mem of its own
    "jit": "off",
}
LIMIT_QUERY: Final = """
    SELECT setting::bigint, context = 'user' OR {} FROM pg_catalog.pg_settings WHERE name = 'temp_file_limit'
"""
MAY_SET: Final = "has_parameter_privilege(current_user, 'temp_file_limit', 'SET')"
IS_SUPERUSER: Final = "current_setting('is_superuser') = 'on'"
"""What `MAY_SET` is before PostgreSQL 15."""
NO_MEMORY_LIMIT: Final = (
    "the memory of PostgreSQL's backends is not bounded: it runs on another host, and the role may not execute "
    "graphmesh.backend_memory(integer), or there is none (docs/sql.md)"
)
NO_TEMP_LIMIT: Final = (
    "temporary space is bounded by the planner's estimate alone: temp_file_limit is not set, and the role may not set "
    "it (ALTER ROLE … SET temp_file_limit = …)"
)
SPILLING: Final = frozenset(
    ("Sort", "Hash", "Materialize", "Function Scan", "CTE Scan", "Recursive Union", "SetOp", "Aggregate")
)
"""Nodes of plans that write what does not fit into work_mem to temporary files."""
FUNCTIONS_QUERY: Final = """
    SELECT proname::text FROM pg_catalog.pg_proc WHERE proname = ANY (%(names)s)
    UNION SELECT typname::text FROM pg_catalog.pg_type WHERE typname = ANY (%(names)s) ORDER BY 1 LIMIT 1
"""


class PostgresEngine:
    def __init__(self, settings: WorkerSettings) -> None:
        self._url = settings.target.replace("postgresql+psycopg://", "postgresql://", 1)
        self._max_cost = settings.max_cost
        self._temp_bytes = settings.temp_bytes
        self._backend_bytes = settings.backend_bytes
        self._roles = settings.roles
        self._temp_is_limited = False

    def describe(self, role: str) -> Schema:
        with translated(), self._transaction(DESCRIBE_SECONDS, role=role) as connection:
            return describe(connection)

    def ping(self) -> tuple[str, ...]:
        with translated(), self._transaction(PING_SECONDS) as connection:
            temp_kib, _ = _temp_limit(connection)
            return (NO_MEMORY_LIMIT,) * (not is_bounded(connection)) + (NO_TEMP_LIMIT,) * (temp_kib < 0)

    def query(self, query: Query, schema: Schema) -> Iterator[ResultPart]:
        checked = check(query.text, schema, len(query.parameters))
        with (
            translated(),
            self._transaction(query.limits.seconds, query.tenant, query.role, TextLoaders()) as connection,
            bounded_memory(connection, self._backend_bytes, self._connect),
        ):
            refuse_functions(connection, checked.fields)
            connection.execute("SELECT set_config('search_path', 'pg_catalog', true)")
            (version,) = connection.execute("SELECT pg_current_snapshot()::text").fetchone() or ("",)
            if version == query.unless_version:
                yield Unchanged()
                return
            repeatable = checked.repeatable and not _has_clock_literal(query)
            cursor = RawCursor(connection)
            if checked.explain:
                cursor.execute(checked.text, query.parameters)
                yield Head(_columns(cursor), Estimate(0.0, None, ()), repeatable, version)
                yield from batches(iter(cursor.fetchall()), query.limits)
                return
            cursor.execute(f"SELECT * FROM (\n{checked.text}\n) AS q LIMIT 0", query.parameters)
            columns, types = _columns(cursor), _type_names(cursor)
            yield Head(columns, self._estimate(cursor, checked, query.parameters), repeatable, version)
            if not query.limits.max_rows:
                return
            bounded = _bounded(checked.text, types, query.limits.max_rows + 1)
            yield from batches(cursor.stream(bounded, query.parameters), query.limits)

    def _estimate(self, cursor: RawCursor[Any], checked: Checked, parameters: tuple[Value, ...]) -> Estimate:
        row = cursor.execute(f"EXPLAIN (FORMAT JSON) {checked.text}", parameters).fetchone()
        plan = json.loads(row[0])[0]["Plan"] if row else {}
        cost = float(plan.get("Total Cost", 0.0))
        if cost > self._max_cost:
            raise RuleBroken(
                Rule.COST,
                f"the planner expects a cost of {cost:.0f}, the limit is {self._max_cost:.0f}: read less, or join less",
            )
        spilled = 0.0 if self._temp_is_limited else _spilled(plan)
        if spilled > self._temp_bytes:
            raise RuleBroken(
                Rule.COST,
                f"the planner expects {spilled:.0f} bytes of temporary space, the limit is {self._temp_bytes}: "
                "read less, or aggregate",
            )
        return Estimate(cost, float(plan.get("Plan Rows", 0)), tuple(_plan_lines(plan)))

    def _connect(self, values: AdaptContext | None = None) -> Connection[Any]:
        return Connection.connect(
            self._url,
            context=values,
            connect_timeout=CONNECT_SECONDS,
            application_name="graphmesh-sql",
            prepare_threshold=None,
        )

    @contextmanager
    def _transaction(
        self, seconds: float, tenant: str = "", role: str = "", values: AdaptContext | None = None
    ) -> Iterator[Connection[Any]]:
        """Open a connection with a read-only transaction, and `seconds` as the timeout of each statement."""
        if role and role not in self._roles:
            raise RuleBroken(Rule.ROLE, f"there is no role {role}")
        connection = self._connect(values)
        try:
            connection.set_read_only(True)
            connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)  # one snapshot, which is the data's version
            settings = {**SETTINGS, "graphmesh.tenant": tenant, **_timeouts(connection, seconds)}
            temp_kib, may_set = _temp_limit(connection)
            self._temp_is_limited = may_set or temp_kib >= 0
            if may_set and not 0 <= temp_kib <= self._temp_bytes // 1024:
                settings["temp_file_limit"] = str(self._temp_bytes // 1024)
            calls = SQL(", ").join(SQL("set_config({}, {}, true)").format(*item) for item in settings.items())
            connection.execute(SQL("SELECT {}").format(calls))
            if role:
                connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(role)))
            yield connection
        finally:
            if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                connection.rollback()  # a pooler gives the session to the next client after the end of a transaction
            connection.close()


def _temp_limit(connection: Connection[Any]) -> tuple[int, bool]:
    """Return the limit of temporary space in KiB, -1 for none, and whether the role may set it."""
    may_set = MAY_SET if connection.info.server_version >= 150000 else IS_SUPERUSER
    return connection.execute(LIMIT_QUERY.format(may_set).encode()).fetchone() or (-1, False)


def _timeouts(connection: Connection[Any], seconds: float) -> dict[str, str]:
    milliseconds = str(max(1, round(seconds * 1000)))
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    checked = {"client_connection_check_interval": "500"} if connection.info.server_version >= 140000 else {}
    return {**dict.fromkeys(names, milliseconds), **checked}


def refuse_functions(connection: Connection[Any], names: frozenset[str]) -> None:
    """Refuse `x.f` where f is a function or a type: where x has no column f, PostgreSQL calls it.

    Raises:
        RuleBroken: one of the names is.
    """
    if not names:
        return
    if found := connection.execute(FUNCTIONS_QUERY, {"names": list(names)}).fetchone():
        raise RuleBroken(
            Rule.FUNCTION, f"the function {found[0]} is not allowed, nor a column of that name in a subquery"
        )


def _columns(cursor: RawCursor[Any]) -> tuple[ResultColumn, ...]:
    names = (column.name for column in cursor.description or ())
    kinds = (TYPES.get(name, ColumnType.OTHER) for name in _type_names(cursor))
    return tuple(ResultColumn(name, kind) for name, kind in zip(names, kinds, strict=True))


def _type_names(cursor: RawCursor[Any]) -> list[str]:
    codes = [column.type_code for column in cursor.description or ()]
    infos = [psycopg.adapters.types.get(code) for code in codes]  # of an array's code: the type of its elements
    return [info.name if info and info.oid == code else "" for info, code in zip(infos, codes, strict=True)]


def _bounded(text: str, types: list[str], max_rows: int) -> str:
    """Put the query into one that fails at a row that is too large, in the server, before anything of it is sent.

    OFFSET 0 keeps the planner from computing the columns twice, for the check and for the result.
    """
    if not types:
        return f"SELECT * FROM (\n{text}\n) AS q LIMIT {max_rows}"
    names = [f"c{number}" for number in range(len(types))]
    size = " + ".join(_size(name, kind) for name, kind in zip(names, types, strict=True))
    return (
        f"SELECT * FROM (SELECT * FROM (\n{text}\n) AS q OFFSET 0) AS q ({', '.join(names)}) "
        f"WHERE CASE WHEN {size} <= {ROW_BYTES} THEN true ELSE ('{MARKER}' || ({size}))::int4 = 0 END LIMIT {max_rows}"
    )


def _size(name: str, kind: str) -> str:
    """Return SQL for the size of a column's text, as bigint."""
    if kind in FIXED_TYPES:
        return f"{FIXED_BYTES}::int8"
    return f"coalesce(octet_length({name}{'' if kind in TEXT_TYPES else '::text'}), 0)::int8"


def _spilled(plan: dict[str, Any]) -> float:
    """Return the bytes that the planner expects a plan to write to temporary files, approximately."""
    own = float(plan.get("Plan Rows", 0)) * float(plan.get("Plan Width", 0))
    written = own if plan.get("Node Type") in SPILLING and own > WORK_MEM else 0.0
    return written + sum(map(_spilled, plan.get("Plans", ())))


def _plan_lines(plan: dict[str, Any], depth: int = 0) -> Iterator[str]:
    on = f" on {plan['Relation Name']}" if "Relation Name" in plan else ""
    rows, cost = plan.get("Plan Rows", 0), plan.get("Total Cost", 0.0)
    yield f"{'  ' * depth}{plan.get('Node Type', '')}{on} (cost {cost:.0f}, rows {rows:.0f})"
    for child in plan.get("Plans", ()):
        yield from _plan_lines(child, depth + 1)


def _has_clock_literal(query: Query) -> bool:
    texts = (query.text, *(value for value in query.parameters if isinstance(value, str)))
    return any(word in text.lower() for text in texts for word in ("now", "today", "tomorrow", "yesterday"))


class TextLoaders:
    """Loads values as text, except for those that have a type of their own in sql.proto."""

    connection = None
    adapters = AdaptersMap(psycopg.adapters)

    for _type in psycopg.adapters.types:
        if TYPES.get(_type.name) not in NATIVE_TYPES:
            adapters.register_loader(_type.oid, TextLoader)
        if _type.array_oid:
            adapters.register_loader(_type.array_oid, TextLoader)


@contextmanager
def translated() -> Iterator[None]:
    """Turn PostgreSQL's errors into those of the domain."""
    try:
        yield
    except psycopg.Error as error:
        raise _translated(error) from error


def _translated(error: psycopg.Error) -> Exception:
    """Translate by SQLSTATE. Only messages about the query itself are passed on."""
    state, message = error.sqlstate or "", (error.diag.message_primary or "")[:MESSAGE_CHARACTERS]
    if state in ("57014", "55P03", "25P03"):  # canceled; a lock or an idle transaction took too long
        return Stopped()
    if MARKER in message:
        return LimitExceeded(TOO_LARGE_ROW)
    if state in ("25006", "42501"):  # a write in a read-only transaction; a privilege that the role does not have
        return RuleBroken(Rule.READ_ONLY, f"the connection may only read described tables: {message}")
    if state in ("53100", "53200", "53400", "XX000") or "memory" in str(error):
        return LimitExceeded(
            "the query needs more memory or temporary space than a query may use: read less, or aggregate"
        )
    if message == "integer out of range":
        message += f"; and repeat, lpad and rpad make {MAX_COMPUTED} characters at most where the size is computed"
    if state[:2] in ("0A", "20", "21", "22", "2F", "38", "39", "42", "44", "54", "P0"):
        return Unanswerable(message)
    return Unreachable(str(error)[:MESSAGE_CHARACTERS])
