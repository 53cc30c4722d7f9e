"""Checks the text of a query before it reaches a database: one SELECT, over described tables, with allowed functions.

A query that passes is run unchanged, not as sqlglot would generate it, because a rewritten query could silently mean
something else. Where sqlglot parses differently than the database, the read-only connection is the second line of
defence.
"""

import logging
from collections.abc import Iterator
from typing import Any, Final

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from graphmesh_sql.domain import Dialect, Rule, RuleBroken, Schema
from graphmesh_sql.functions import ALLOWED_FUNCTIONS, REFUSED_EXPRESSIONS

BASE_STEPS: Final = 20_000
STEPS_PER_TOKEN: Final = 10
"""Limit of the parser's token advances; ordinary queries need about one per token. The parser backtracks, nested
constructs exponentially, so a few dozen words could keep it busy for years."""

_WRITE_EXPRESSIONS = (
    *(exp.DDL, exp.DML, exp.Drop, exp.Alter, exp.TruncateTable, exp.Command, exp.Set, exp.Pragma, exp.Attach),
    *(exp.Detach, exp.Into, exp.Lock, exp.Use, exp.Transaction, exp.Commit, exp.Rollback, exp.Analyze, exp.Kill),
)

# It logs statements that it cannot parse, and a statement may contain personal data.
logging.getLogger("sqlglot").disabled = True


def check_query(query: str, schema: Schema) -> None:
    """Check a query against all rules but those that only the database can check.

    Raises:
        RuleBroken: the query breaks a rule.
    """
    try:
        tokens = sqlglot.tokenize(query, read=schema.dialect)
        statements = _parsed(tokens, query, schema)
        _check_statements(statements)
        for node in statements[0].walk():
            _check_node(node, schema)
        _check_keywords(tokens)
    except (RecursionError, _TooManySteps):
        raise RuleBroken(Rule.COMPLEXITY, "the query is nested too deeply") from None
    except SqlglotError as error:
        raise RuleBroken(Rule.SYNTAX, f"this is not {_name(schema)} SQL: {_parser_message(error)}") from error


class _TooManySteps(Exception):
    """The parser has used up its steps."""


def _parsed(tokens: list[Token], query: str, schema: Schema) -> list[exp.Expr]:
    parser = _PARSERS[schema.dialect](dialect=schema.dialect)
    parser.steps_left = BASE_STEPS + STEPS_PER_TOKEN * len(tokens)
    return [statement for statement in parser.parse(tokens, query) if statement is not None]


def _step_limited_parser(dialect: Dialect) -> Any:
    """Derive a dialect's parser that raises _TooManySteps when `steps_left` is used up."""

    class StepLimitedParser(sqlglot.Dialect.get_or_raise(dialect).parser_class):  # type: ignore[misc]
        steps_left = 0

        def _advance(self, times: int = 1) -> None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise _TooManySteps
            super()._advance(times)

    return StepLimitedParser


_PARSERS: Final = {dialect: _step_limited_parser(dialect) for dialect in Dialect}


def _check_keywords(tokens: list[Token]) -> None:
    """Refuse PostgreSQL's `TABLE x`, a SELECT that sqlglot parses as a column with an alias."""
    if any(token.token_type is TokenType.TABLE for token in tokens):
        raise RuleBroken(Rule.SELECT_ONLY, "write SELECT * FROM instead of TABLE")


def _check_statements(statements: list[exp.Expr]) -> None:
    if len(statements) != 1:
        raise RuleBroken(Rule.SINGLE_STATEMENT, f"exactly one statement is allowed; there are {len(statements)}")
    _check_read_only(statements[0])
    if not isinstance(statements[0].unnest(), exp.Select | exp.SetOperation):
        raise RuleBroken(Rule.SELECT_ONLY, "the statement has to be a SELECT")


def _check_node(node: exp.Expr, schema: Schema) -> None:
    _check_read_only(node)
    if isinstance(node, exp.Placeholder | exp.Parameter):
        raise RuleBroken(Rule.PARAMETER, "parameters are not allowed: write the value")
    if isinstance(node, exp.CTE):
        _check_read_only(node.this)
        if not isinstance(node.this, exp.Query):
            raise RuleBroken(Rule.SELECT_ONLY, f"{node.alias} has to be a SELECT")
    if isinstance(node, exp.Func):
        _check_function(node, schema)
    if isinstance(node, exp.Table) and not isinstance(node.this, exp.Func):
        _check_table(node, schema)


def _check_read_only(node: exp.Expr) -> None:
    if isinstance(node, _WRITE_EXPRESSIONS):
        raise RuleBroken(Rule.READ_ONLY, f"{_keyword(node)} is not allowed: queries only read")


def _check_function(function: exp.Func, schema: Schema) -> None:
    """Allow functions with a sqlglot class, except for REFUSED_EXPRESSIONS, and others by ALLOWED_FUNCTIONS."""
    if isinstance(function.parent, exp.Dot):
        raise RuleBroken(Rule.FUNCTION, "functions are quoted_name without a schema")
    name = function.name.lower() if isinstance(function, exp.Anonymous) else ""
    if isinstance(function, REFUSED_EXPRESSIONS) or (name and name not in ALLOWED_FUNCTIONS[schema.dialect]):
        raise RuleBroken(Rule.FUNCTION, f"the function {name or _keyword(function).lower()} is not allowed")


def _check_table(table: exp.Table, schema: Schema) -> None:
    name, qualifier = _normalized(table.this, schema.dialect), _normalized(table.args.get("db"), schema.dialect)
    if not qualifier and name in set(_visible_ctes(table, schema.dialect)):
        return
    if table.catalog or not schema.has(qualifier, name):
        raise RuleBroken(Rule.TABLE, f"there is no table {table.name} among the described tables")


def _visible_ctes(table: exp.Table, dialect: Dialect) -> Iterator[str]:
    """Yield the names of common table expressions that are in scope at the table's position."""
    node: exp.Expr = table
    while node.parent is not None:
        parent = node.parent
        if isinstance(parent, exp.With):
            named = parent.expressions if parent.recursive else parent.expressions[: node.index]
            yield from (_normalized(cte.args["alias"].this, dialect) for cte in named)
        elif (with_ := parent.args.get("with_")) and with_ is not node:
            yield from (_normalized(cte.args["alias"].this, dialect) for cte in with_.expressions)
        node = parent


def _normalized(identifier: exp.Expr | None, dialect: Dialect) -> str:
    """Return the name as the database resolves it: SQLite ignores case, PostgreSQL lowers unquoted names."""
    if identifier is None:
        return ""
    exact = dialect is Dialect.POSTGRESQL and bool(identifier.args.get("quoted"))
    return identifier.name if exact else identifier.name.lower()


def _name(schema: Schema) -> str:
    return {Dialect.SQLITE: "SQLite", Dialect.POSTGRESQL: "PostgreSQL"}[schema.dialect]


def _keyword(node: exp.Expr) -> str:
    return "this statement" if isinstance(node, exp.Command) else node.key.upper()


def _parser_message(error: SqlglotError) -> str:
    """Return the parser's message without its colours and excerpts."""
    details = getattr(error, "errors", None)
    return f"{details[0]['description']} Line {details[0]['line']}" if details else "it cannot be read"
