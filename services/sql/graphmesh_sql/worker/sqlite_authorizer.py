"""The allow-list over what SQLite resolves in a query: its authorizer callback, and the errors that explain it."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from graphmesh_sql.domain import LimitExceeded, Rule, RuleBroken, Unanswerable, Unreachable
from graphmesh_sql.worker.sqlite_functions import FUNCTIONS
from graphmesh_sql.worker.sqlite_schema import TABLE_FUNCTIONS, Readable

_ACTIONS = {
    getattr(sqlite3, f"SQLITE_{name.replace(' ', '_')}"): name
    for name in (
        *("INSERT", "UPDATE", "DELETE", "PRAGMA", "ATTACH", "DETACH", "ANALYZE", "REINDEX", "TRANSACTION", "SAVEPOINT"),
        *("ALTER TABLE", "CREATE INDEX", "CREATE TABLE", "CREATE TEMP TABLE", "CREATE TEMP VIEW", "CREATE TRIGGER"),
        *("CREATE TEMP TRIGGER", "CREATE TEMP INDEX", "CREATE VIEW", "CREATE VTABLE", "DROP INDEX", "DROP TABLE"),
        *("DROP TEMP INDEX", "DROP TEMP TABLE", "DROP TEMP TRIGGER", "DROP TEMP VIEW", "DROP TRIGGER", "DROP VIEW"),
        "DROP VTABLE",
    )
}
_RULES: Final = (
    (re.compile(r"only execute one statement"), Rule.SINGLE_STATEMENT),
    (
        re.compile(r"syntax error|unrecognized token|incomplete input|unknown join type|no tables specified"),
        Rule.SYNTAX,
    ),
    (
        re.compile(r"stack overflow|tree is too large|too many (terms|columns|levels)|at most 64 tables"),
        Rule.COMPLEXITY,
    ),
    (re.compile(r"String or BLOB exceeded size limit|query string is too large|too many references"), Rule.COMPLEXITY),
    (re.compile(r"no such table"), Rule.TABLE),
    (re.compile(r"no such function"), Rule.FUNCTION),
    (re.compile(r"[Bb]inding|bind on a|did not supply"), Rule.PARAMETER),
    (
        re.compile(r"unable to open database|cannot (VACUUM|start|commit|rollback)|no transaction is active"),
        Rule.READ_ONLY,
    ),
)
"""The rules that the messages of SQLite's compiler report."""


class Authorizer:
    """Allows reads of what may be read, and calls of allowed functions; remembers the first denial."""

    def __init__(self, allowed: Readable, *, scratch: bool) -> None:
        self._columns = {
            table.lower(): {*map(str.lower, columns), "", "rowid"} for table, columns in allowed.tables.items()
        }
        self._views = allowed.all_views if allowed.restricted else frozenset()
        """Where everything may be read, nothing depends on the view through which it is."""
        self._scratch = scratch
        self.denial: RuleBroken | None = None
        self.functions: set[str] = set()

    def __call__(self, action: int, first: str | None, second: str | None, _: str | None, source: str | None) -> int:
        denial = self._denial(action, str(first), str(second).lower(), str(source).lower() if source else "")
        if denial is None:
            return sqlite3.SQLITE_OK
        self.denial = self.denial or denial
        return sqlite3.SQLITE_DENY

    def _denial(self, action: int, first: str, second: str, source: str) -> RuleBroken | None:
        if self._scratch and source in self._views:
            return RuleBroken(Rule.TABLE, f"{source} is a view: give the common table expression another name")
        match action:
            case sqlite3.SQLITE_UPDATE if first == "sqlite_master":  # the first use of a table-valued function
                return RuleBroken(
                    Rule.TABLE, f"of table functions only {' and '.join(sorted(TABLE_FUNCTIONS))} are allowed"
                )
            case sqlite3.SQLITE_SELECT | sqlite3.SQLITE_RECURSIVE:
                return None
            case sqlite3.SQLITE_READ:
                return self._read_denial(first.lower(), second, source)
            case sqlite3.SQLITE_FUNCTION:
                self.functions.add(second)
                allowed = second in FUNCTIONS
                return None if allowed else RuleBroken(Rule.FUNCTION, f"the function {second} is not allowed")
        return RuleBroken(Rule.READ_ONLY, f"{_ACTIONS.get(action, 'this statement')} is not allowed: queries only read")

    def _read_denial(self, table: str, column: str, source: str) -> RuleBroken | None:
        if table in TABLE_FUNCTIONS or source in self._views or column in self._columns.get(table, ()):
            return None
        # An empty column: only rows are counted. The table may be a common table expression then, which has been
        # found under its name in the scratch database too, where no other table is.
        if not column and not table.startswith(("sqlite_", "pragma_")) and table not in MODULES:
            return None
        return RuleBroken(Rule.TABLE, f"there is no {table}.{column} among the described tables and columns")


def _eponymous() -> frozenset[str]:
    """Return the virtual tables that exist without a declaration."""
    connection = sqlite3.connect(":memory:")
    try:
        return frozenset(name.lower() for (name,) in connection.execute("SELECT name FROM pragma_module_list"))
    except sqlite3.Error:
        return frozenset(("dbstat", "sqlite_stmt", "bytecode", "tables_used", "fts3tokenize"))
    finally:
        connection.close()


MODULES: Final = _eponymous()


@contextmanager
def translated(stopped: Callable[[], Exception] | None = None, authorizer: Authorizer | None = None) -> Iterator[None]:
    """Turn SQLite's errors into those of the domain.

    Args:
        stopped: makes the error of a query that the progress handler has ended.
    """
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _translated(error, stopped, authorizer) from error


def _translated(error: Exception, stopped: Callable[[], Exception] | None, authorizer: Authorizer | None) -> Exception:
    if authorizer is not None and authorizer.denial is not None:
        return authorizer.denial
    message = str(error)
    match getattr(error, "sqlite_errorname", "").split("_")[1:2]:
        case ["INTERRUPT"] if stopped is not None:
            return stopped()
        case ["NOMEM"]:
            return MemoryError()
        case ["READONLY"]:
            return RuleBroken(Rule.READ_ONLY, "the connection may only read")
        case ["FULL"]:
            return LimitExceeded("the query needs more temporary space than a query may use: read less, or aggregate")
        case ["IOERR"] if "WRITE" in getattr(error, "sqlite_errorname", ""):
            return LimitExceeded("the query needs more temporary space than a query may use: read less, or aggregate")
        case ["CANTOPEN"] if stopped is not None:  # a temporary file: the database itself is open by now
            return LimitExceeded("the query needs more temporary files than a query may use: sort or group less")
        case ["CANTOPEN" | "NOTADB" | "IOERR" | "BUSY" | "CORRUPT" | "LOCKED" | "PROTOCOL"]:
            return Unreachable(message)
    return Unanswerable(message)


def compile_error(error: Exception) -> Exception:
    """Return the rule that a query breaks which does not compile; else the message is the database's own."""
    message = str(error)
    rule = next((rule for pattern, rule in _RULES if pattern.search(message)), None)
    if rule is Rule.TABLE:
        message = f"there is no table {message.partition(': ')[2]} among the described tables"
    return Unanswerable(message) if rule is None else RuleBroken(rule, message)
