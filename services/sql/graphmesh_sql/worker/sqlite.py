"""The engine over a SQLite file.

A query is compiled twice. First in an empty database that has only what the caller's role may read, so that no other
name has a meaning; then in the file, which is opened read-only with `query_only` set. Both times an authorizer allows
only reads of described tables and calls of allowed functions: the database itself resolves what the text means.
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Final

from graphmesh_sql.domain import (
    Estimate,
    Head,
    Limits,
    Query,
    ResultColumn,
    ResultPart,
    Row,
    Rule,
    RuleBroken,
    Schema,
    Stopped,
    Unchanged,
    batches,
    row_bytes,
)
from graphmesh_sql.worker.settings import WorkerSettings
from graphmesh_sql.worker.sqlite_authorizer import Authorizer, compile_error, translated
from graphmesh_sql.worker.sqlite_parameters import bound
from graphmesh_sql.worker.sqlite_schema import (
    Readable,
    common_type,
    data_version,
    declare_table_functions,
    describe,
    readable,
    scratch_database,
)

STEPS_PER_CHECK: Final = 10_000
"""SQLite's virtual machine instructions between two calls of the progress handler, which checks the limits."""
VALUE_BYTES: Final = 1_000_000
"""Size limit of a text or blob that a query reads or computes."""
TYPE_SAMPLE_ROWS: Final = 100
"""Rows from which the types of a result's columns are inferred, because SQLite's columns have none."""
TYPE_SAMPLE_BYTES: Final = 256 * 1024
TYPE_SAMPLE_SECONDS: Final = 0.1
CACHE_KIB: Final = 2000
LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
VOLATILE: Final = frozenset(("random", "randomblob", "current_date", "current_time", "current_timestamp"))
CLOCK: Final = frozenset(("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"))
"""Functions that read the clock for the argument `now`, or for none."""
TABLE_ROWS: Final = 1000
"""Rows that a table or a subquery is expected to have whose size is not known, and FOUND_ROWS those behind an index."""
FOUND_ROWS: Final = 10

_EXPLAIN = re.compile(r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*+explain\b", re.IGNORECASE)
_NOW = re.compile(r"now|subsec|\(\s*\)|strftime\s*\(\s*'[^']*'\s*\)", re.IGNORECASE)


class SqliteEngine:
    def __init__(self, settings: WorkerSettings) -> None:
        self._path = Path(settings.target)
        self._max_steps = settings.max_steps
        self._heap_bytes = settings.memory_bytes // 2
        self._roles = settings.roles
        self._scratch: tuple[object, Readable, sqlite3.Connection] | None = None
        """The key, and what was made for it: the newest role and version of the schema."""

    def describe(self, role: str) -> Schema:
        with translated(), closing(self._connect()) as connection:
            return describe(connection, self._readable(connection, role))

    def ping(self) -> tuple[str, ...]:
        with translated(), closing(self._connect()) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        return ()

    def query(self, query: Query, schema: Schema) -> Iterator[ResultPart]:
        with translated(), closing(self._connect()) as connection:
            allowed, scratch = self._scratch_for(connection, query.role)
            functions = _check(scratch, allowed, query)
            version = data_version(self._path)
            if version and version == query.unless_version:
                yield Unchanged()
                return
            declare_table_functions(connection)
            progress = Progress(query.limits, self._max_steps)
            authorizer = Authorizer(allowed, scratch=False)
            _restrict(connection, authorizer, progress)
            with translated(progress.error, authorizer):
                estimate = _estimate(connection, query, schema)
                if not query.limits.max_rows:
                    yield Head((), estimate, repeatable=False, version=version)
                    return
                cursor = bound(lambda values: connection.execute(query.text, values), query.parameters)
                yield from _result(cursor, query, estimate, _repeatable(query, functions), version)

    def _readable(self, connection: sqlite3.Connection, role: str) -> Readable:
        """Raises RuleBroken: there is no such role."""
        if role and role not in self._roles:
            raise RuleBroken(Rule.ROLE, f"there is no role {role}")
        return readable(connection, self._roles[role] if role else None)

    def _scratch_for(self, connection: sqlite3.Connection, role: str) -> tuple[Readable, sqlite3.Connection]:
        key = role, connection.execute("PRAGMA schema_version").fetchone()
        if self._scratch is None or self._scratch[0] != key:
            allowed = self._readable(connection, role)
            self._scratch = key, allowed, scratch_database(allowed)
        return self._scratch[1:]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        for pragma in (
            f"hard_heap_limit = {self._heap_bytes}",
            f"cache_size = -{CACHE_KIB}",
            "temp_store = FILE",
            "trusted_schema = OFF",
            "query_only = ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
        connection.text_factory = lambda text: text.decode(errors="replace")
        return connection


class Progress:
    """Stops a query after a time, or after a number of steps."""

    def __init__(self, limits: Limits, steps: int) -> None:
        self._ends_at = time.monotonic() + limits.seconds
        self._steps_left = steps

    def __call__(self) -> bool:
        """Return True to stop the query. SQLite calls it every `STEPS_PER_CHECK` instructions."""
        self._steps_left -= STEPS_PER_CHECK
        return self._steps_left < 0 or time.monotonic() >= self._ends_at

    def error(self) -> Exception:
        """Return the error of a stopped query."""
        if self._steps_left < 0:
            return RuleBroken(Rule.COST, "the query is too expensive for this database: read less, or join less")
        return Stopped()


def _restrict(connection: sqlite3.Connection, authorizer: Authorizer, progress: Progress | None) -> None:
    for limit, value in LIMITS.items():
        connection.setlimit(limit, value)
    connection.set_authorizer(authorizer)
    if progress is not None:
        connection.set_progress_handler(progress, STEPS_PER_CHECK)


def _check(scratch: sqlite3.Connection, allowed: Readable, query: Query) -> set[str]:
    """Compile the query in the scratch database, without running it, and return the functions that it calls.

    Raises:
        RuleBroken: the query breaks a rule.
        Unanswerable: it does not compile for another reason.
    """
    authorizer = Authorizer(allowed, scratch=True)
    _restrict(scratch, authorizer, None)
    text = query.text if _EXPLAIN.match(query.text) else f"EXPLAIN {query.text}"
    if not query.text.strip("; \t\r\n"):
        raise RuleBroken(Rule.SINGLE_STATEMENT, "exactly one statement is allowed; there is none")
    try:
        bound(lambda values: scratch.execute(text, values), query.parameters).close()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise authorizer.denial or compile_error(error) from error
    return authorizer.functions


def _estimate(connection: sqlite3.Connection, query: Query, schema: Schema) -> Estimate:
    """Estimate the rows that the query visits: nested loops multiply, by the sizes of scanned tables."""
    if _EXPLAIN.match(query.text):
        return Estimate(0.0, None, ())
    explain = f"EXPLAIN QUERY PLAN {query.text}"
    lines = bound(lambda values: connection.execute(explain, values).fetchall(), query.parameters)
    sizes = {table.location[1]: table.row_estimate for table in schema.tables}
    loops: dict[int, float] = {}
    cost = 0.0
    for _, parent, _, detail in lines:
        verb, _, rest = str(detail).partition(" ")
        if verb in ("SCAN", "SEARCH"):
            name = rest.removeprefix("TABLE ").split(" ")[0].strip('"').lower()
            rows = (sizes.get(name) or TABLE_ROWS) if verb == "SCAN" else FOUND_ROWS
            loops[parent] = loops.get(parent, 1.0) * rows
            cost += loops[parent]
    return Estimate(cost, None, tuple(str(line[3]) for line in lines))


def _result(
    cursor: sqlite3.Cursor, query: Query, estimate: Estimate, repeatable: bool, version: str
) -> Iterator[ResultPart]:
    rows: Iterator[Row] = iter(cursor)
    sample = _sample(rows)
    columns = tuple(
        ResultColumn(name, common_type(row[index] for row in sample))
        for index, (name, *_) in enumerate(cursor.description)
    )
    yield Head(columns, estimate, repeatable, version)
    yield from batches(chain(sample, rows), query.limits)


def _sample(rows: Iterator[Row]) -> list[Row]:
    """Read the first rows, within bounds of number, size and time."""
    sample: list[Row] = []
    size, ends_at = 0, time.monotonic() + TYPE_SAMPLE_SECONDS
    for row in rows:
        sample.append(row)
        size += row_bytes(row)
        if len(sample) == TYPE_SAMPLE_ROWS or size > TYPE_SAMPLE_BYTES or time.monotonic() > ends_at:
            break
    return sample


def _repeatable(query: Query, functions: set[str]) -> bool:
    if functions & VOLATILE:
        return False
    texts = (query.text, *(value for value in query.parameters if isinstance(value, str)))
    return not (functions & CLOCK and any(_NOW.search(text) for text in texts))
