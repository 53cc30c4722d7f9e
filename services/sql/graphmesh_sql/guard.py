"""Judges the text of a query before any database sees it: one SELECT, over described tables, with known functions.

The text that passes is run as it is, not as sqlglot would write it: a rewritten query may mean something else without
anybody noticing. What sqlglot reads otherwise than the database does is caught by the connection, which can only read.
"""

import logging
from collections.abc import Iterator
from typing import Final

import sqlglot
from sqlglot import Token, TokenType, exp, parser
from sqlglot.errors import SqlglotError

from graphmesh_sql.domain import Dialect, Rule, RuleBroken, Schema
from graphmesh_sql.functions import KNOWN, REFUSED

DEEPEST: Final = 40
"""Brackets in brackets; the parser's recursion bears little more."""
DEEPEST_TYPES: Final = 4
"""The same of `[` and of brackets after the name of a type: the parser tries each of them in several ways, one in the
other, so every level multiplies its work."""

_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
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
        _check_depth(tokens)
        statements = [statement for statement in sqlglot.parse(query, read=schema.dialect) if statement is not None]
        _check_statements(statements)
        for node in statements[0].walk():
            _check_node(node, schema)
        _check_keywords(tokens)
    except RecursionError:
        raise RuleBroken(Rule.COMPLEXITY, "the query is nested too deeply") from None
    except SqlglotError as error:
        raise RuleBroken(Rule.SYNTAX, f"this is not {_name(schema)} SQL: {_where(error)}") from error


def _check_depth(tokens: list[Token]) -> None:
    """Before parsing: nothing that would keep the parser busy."""
    open_brackets: list[bool] = []
    previous = None
    for token in tokens:
        if token.token_type in _OPENING:
            of_type = token.token_type is TokenType.L_BRACKET or previous in parser.Parser.TYPE_TOKENS
            open_brackets.append(of_type)
        elif token.token_type in _CLOSING and open_brackets:
            open_brackets.pop()
        if len(open_brackets) > DEEPEST or sum(open_brackets) > DEEPEST_TYPES:
            raise RuleBroken(Rule.COMPLEXITY, "the query is nested too deeply")
        previous = token.token_type


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
