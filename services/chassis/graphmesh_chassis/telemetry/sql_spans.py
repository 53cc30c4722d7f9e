"""Spans of SQL statements, where the call or run that executes them is traced."""

import re
import time
from functools import lru_cache
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.sampling import is_traced
from graphmesh_chassis.telemetry.spans import Finished

BEGAN = "graphmesh_began"
"""Where the beginning of a statement is in SQLAlchemy's context of it."""
TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?!SET\b)([A-Za-z_][\w.]{0,62})", re.IGNORECASE)
CONTROL = frozenset({"SAVEPOINT", "RELEASE", "ROLLBACK"})
"""Statements that are no spans: they take no time."""
LITERAL = re.compile(r"'[^']*(?:'|$)")
MAX_TABLES = 4
MAX_STATEMENT = 4_000
"""Characters of a statement that are read for its summary."""


@lru_cache(1024)
def summary(statement: str) -> str:
    """Return the operation and the tables of a statement, without values: `SELECT invoices charges`."""
    beginning = LITERAL.sub("''", statement[:MAX_STATEMENT])
    operation = next(iter(beginning.split(maxsplit=1)), "")[:16].upper()
    return " ".join((operation, *list(dict.fromkeys(TABLE.findall(beginning)))[:MAX_TABLES]))


def record_statements(engine: Engine) -> None:
    """Record the statements of an engine as spans, by the conventions for databases."""
    system = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"

    @event.listens_for(engine, "before_cursor_execute")
    def begin(_: Any, __: Any, ___: str, ____: Any, context: Any, _____: bool) -> None:
        if is_traced() and context is not None:
            setattr(context, BEGAN, time.time_ns())

    @event.listens_for(engine, "after_cursor_execute")
    def end(_: Any, __: Any, statement: str, ____: Any, context: Any, _____: bool) -> None:
        if (began := getattr(context, BEGAN, 0)) and (parent := spans.present()):
            _emit(system, statement, parent, began)

    @event.listens_for(engine, "handle_error")
    def fail(failure: ExceptionContext) -> None:
        began = getattr(failure.execution_context, BEGAN, 0)
        if began and (parent := spans.present()):
            _emit(system, failure.statement or "", parent, began, type(failure.original_exception).__qualname__)


def _emit(system: str, statement: str, parent: str, began: int, reason: str = "") -> None:
    text = summary(statement)
    if text in CONTROL:
        return
    attributes = {names.DB_SYSTEM: system, names.DB_OPERATION: text.partition(" ")[0], names.DB_STATEMENT: text}
    own = spans.below(parent)
    spans.emit(Finished(text, own, parent, began, time.time_ns(), "client", attributes, reason))
