"""Judges the text of a query before any database sees it: one SELECT, over described tables, with known functions.

The text that passes is run as it is, not as sqlglot would write it: a rewritten query may mean something else without
anybody noticing. What sqlglot reads otherwise than the database does is caught by the connection, which can only read.
"""

import logging
from collections.abc import Iterator
from typing import Any, Final

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from graphmesh_sql.domain import Dialect, Rule, RuleBroken, Schema
from graphmesh_sql.functions import KNOWN, REFUSED

STEPS: Final = 20_000
STEPS_A_TOKEN: Final = 10
"""How many times the parser may go from one token to another; ordinary queries need about one a token. It tries
some constructs in several ways, one in the other, so a few dozen words could keep it busy for years."""

_WRITING = (
    *(exp.DDL, exp.DML, exp.Drop, exp.Alter, exp.TruncateTable, exp.Command, exp.Set, exp.Pragma, exp.Attach),
    *(exp.Detach, exp.Into, exp.Lock, exp.Use, exp.Transaction, exp.Commit, exp.Rollback, exp.Analyze, exp.Kill),
)

# It logs statements that it cannot parse, and a statement may hold personal data.
logging.getLogger("sqlglot").disabled = True


def judge(query: str, schema: Schema) -> None:
    """Let a query pass.

    Raises:
        RuleBroken: it breaks a rule.
    """
    try:
        tokens = sqlglot.tokenize(query, read=schema.dialect)
        statements = _parsed(tokens, query, schema)
        _check_statements(statements)
        for node in statements[0].walk():
            _check_node(node, schema)
        _check_keywords(tokens)
    except (RecursionError, _Laborious):
        raise RuleBroken(Rule.COMPLEXITY, "the query is nested too deeply") from None
    except SqlglotError as error:
        raise RuleBroken(Rule.SYNTAX, f"this is not {_name(schema)} SQL: {_where(error)}") from error


class _Laborious(Exception):
    """A text keeps the parser busy for too long."""


def _parsed(tokens: list[Token], query: str, schema: Schema) -> list[exp.Expr]:
    """The statements of a query."""
    parser = _PARSERS[schema.dialect](dialect=schema.dialect)
    parser.steps_left = STEPS + STEPS_A_TOKEN * len(tokens)
    return [statement for statement in parser.parse(tokens, query) if statement is not None]


def _bounded(dialect: Dialect) -> Any:
    """The parser of a dialect, which gives up after its steps."""

    class Bounded(sqlglot.Dialect.get_or_raise(dialect).parser_class):  # type: ignore[misc]
        steps_left = 0

        def _advance(self, times: int = 1) -> None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise _Laborious
            super()._advance(times)

    return Bounded


_PARSERS: Final = {dialect: _bounded(dialect) for dialect in Dialect}


def _check_keywords(tokens: list[Token]) -> None:
    """PostgreSQL takes `TABLE x` for a SELECT; the parser takes it for a column with an alias."""
    if any(token.token_type is TokenType.TABLE for token in tokens):
        raise RuleBroken(Rule.SELECT_ONLY, "write SELECT * FROM instead of TABLE")


def _check_statements(statements: list[exp.Expr]) -> None:
    if len(statements) != 1:
        raise RuleBroken(Rule.SINGLE_STATEMENT, f"exactly one statement is allowed; there are {len(statements)}")
    _check_reading(statements[0])
    if not isinstance(statements[0].unnest(), exp.Select | exp.SetOperation):
        raise RuleBroken(Rule.SELECT_ONLY, "the statement has to be a SELECT")


def _check_node(node: exp.Expr, schema: Schema) -> None:
    _check_reading(node)
    if isinstance(node, exp.Placeholder | exp.Parameter):
        raise RuleBroken(Rule.PARAMETER, "parameters are not allowed: write the value")
    if isinstance(node, exp.CTE):
        _check_reading(node.this)
        if not isinstance(node.this, exp.Query):
            raise RuleBroken(Rule.SELECT_ONLY, f"{node.alias} has to be a SELECT")
    if isinstance(node, exp.Func):
        _check_function(node, schema)
    if isinstance(node, exp.Table) and not isinstance(node.this, exp.Func):
        _check_table(node, schema)


def _check_reading(node: exp.Expr) -> None:
    if isinstance(node, _WRITING):
        raise RuleBroken(Rule.READ_ONLY, f"{_keyword(node)} is not allowed: queries only read")


def _check_function(function: exp.Func, schema: Schema) -> None:
    """Those that sqlglot has a class for compute, but for REFUSED; of the others only the listed are known to."""
    if isinstance(function.parent, exp.Dot):
        raise RuleBroken(Rule.FUNCTION, "functions are written without a schema")
    name = function.name.lower() if isinstance(function, exp.Anonymous) else ""
    if isinstance(function, REFUSED) or (name and name not in KNOWN[schema.dialect]):
        raise RuleBroken(Rule.FUNCTION, f"the function {name or _keyword(function).lower()} is not allowed")


def _check_table(table: exp.Table, schema: Schema) -> None:
    name, place = _folded(table.this, schema.dialect), _folded(table.args.get("db"), schema.dialect)
    if not place and name in set(_visible(table, schema.dialect)):
        return
    if table.catalog or not schema.has(place, name):
        raise RuleBroken(Rule.TABLE, f"there is no table {table.name} among those that are described")


def _visible(table: exp.Table, dialect: Dialect) -> Iterator[str]:
    """The names that the WITH clauses around a table give to its queries, where the table stands."""
    node: exp.Expr = table
    while node.parent is not None:
        parent = node.parent
        if isinstance(parent, exp.With):
            named = parent.expressions if parent.recursive else parent.expressions[: node.index]
            yield from (_folded(cte.args["alias"].this, dialect) for cte in named)
        elif (with_ := parent.args.get("with_")) and with_ is not node:
            yield from (_folded(cte.args["alias"].this, dialect) for cte in with_.expressions)
        node = parent


def _folded(identifier: exp.Expr | None, dialect: Dialect) -> str:
    """The name as the database looks it up: SQLite knows no case, PostgreSQL lowers what is not quoted."""
    if identifier is None:
        return ""
    exact = dialect is Dialect.POSTGRESQL and bool(identifier.args.get("quoted"))
    return identifier.name if exact else identifier.name.lower()


def _name(schema: Schema) -> str:
    return {Dialect.SQLITE: "SQLite", Dialect.POSTGRESQL: "PostgreSQL"}[schema.dialect]


def _keyword(node: exp.Expr) -> str:
    return "this statement" if isinstance(node, exp.Command) else node.key.upper()


def _where(error: SqlglotError) -> str:
    """The parser's message, without its colours and excerpts."""
    details = getattr(error, "errors", None)
    return f"{details[0]['description']} Line {details[0]['line']}" if details else "it cannot be read"
