"""The allow-list over PostgreSQL's own parse tree.

Every node, and every field of a node, has to be listed in `postgresql_grammar`. Names get the meaning that the guard
checks: tables are qualified in the text that is sent, and the search path of the connection is `pg_catalog` alone, so
that functions, operators, types and collations can be no others than PostgreSQL's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphmesh_sql.domain import Rule, RuleBroken, Schema
from graphmesh_sql.worker.postgresql_expansion import check_expansion
from graphmesh_sql.worker.postgresql_functions import FUNCTIONS, TYPES, VOLATILE
from graphmesh_sql.worker.postgresql_grammar import CLOCKS, DIRECT, EXPLAIN_OPTIONS, FIELDS, LEAVES, READING, STATEMENTS
from graphmesh_sql.worker.postgresql_parser import NotSql, parse
from graphmesh_sql.worker.postgresql_sizes import Sizes

CATALOG: Final = "pg_catalog"
Scope = frozenset[str]
Node = dict[str, Any]


@dataclass
class Checked:
    """A query that keeps the rules of its text."""

    text: str
    """With qualified names, and without a semicolon at its end."""
    explain: bool
    repeatable: bool
    fields: frozenset[str]
    """Names after a dot that are no described columns: PostgreSQL would call a function of that name."""


def check(text: str, schema: Schema, parameters: int) -> Checked:
    """Check a query against all rules that its text can break.

    Raises:
        RuleBroken: it breaks a rule.
    """
    try:
        statements = parse(text)
    except NotSql as error:
        message = str(error)
        rule = Rule.COMPLEXITY if "memory exhausted" in message or "stack depth" in message else Rule.SYNTAX
        raise RuleBroken(rule, f"this is not PostgreSQL SQL: {message}") from error
    except RecursionError:
        raise RuleBroken(Rule.COMPLEXITY, "the query is nested too deeply") from None
    if len(statements) != 1:
        raise RuleBroken(Rule.SINGLE_STATEMENT, f"exactly one statement is allowed; there are {len(statements)}")
    ((kind, node),) = statements[0]["stmt"].items()
    explain = kind == "ExplainStmt"
    if explain:
        kind, node = _explained(node)
    if kind != "SelectStmt":
        verb = kind.removesuffix("Stmt").upper()
        raise RuleBroken(Rule.READ_ONLY, f"{STATEMENTS.get(kind, verb)} is not allowed: queries only read")
    walk = _Walk(text, schema, parameters)
    walk.check(node)
    check_expansion(node)
    return Checked(_spliced(text, statements[0], walk.insertions), explain, walk.repeatable, frozenset(walk.fields))


def _explained(node: Node) -> tuple[str, Node]:
    for option in node.get("options", ()):
        name = option["DefElem"]["defname"]
        if name not in EXPLAIN_OPTIONS:
            raise RuleBroken(Rule.READ_ONLY, f"EXPLAIN ({name.upper()}) is not allowed: it may only plan")
    ((kind, inner),) = node["query"].items()
    return kind, inner


def _spliced(text: str, statement: Node, insertions: dict[int, str]) -> str:
    """Insert text at positions, which count bytes, and cut off what is after the statement."""
    whole = text.encode()
    begin = statement.get("stmt_location", 0)
    end = begin + statement["stmt_len"] if "stmt_len" in statement else len(whole)
    pieces, last = [], begin
    for position in sorted(insertions):
        pieces += [whole[last:position], insertions[position].encode()]
        last = position
    return b"".join([*pieces, whole[last:end]]).decode()


class _Walk:
    """One pass over a tree, with a stack of its own: trees may be deep."""

    def __init__(self, text: str, schema: Schema, parameters: int) -> None:
        self._sizes = Sizes(text)
        self._schema = schema
        self._parameters = parameters
        self._columns = {_unquoted(column.name) for table in schema.tables for column in table.columns}
        self._types = {name: namespace for namespace, name in reversed(schema.types)}
        self._used: set[int] = set()
        self.insertions: dict[int, str] = {}
        self.repeatable = True
        self.fields: set[str] = set()

    def check(self, select: Node) -> None:
        stack: list[tuple[str, Node, Scope]] = [("SelectStmt", select, frozenset())]
        while stack:
            kind, node, scope = stack.pop()
            if kind in LEAVES:
                continue
            self._check_fields(kind, node)
            rule = getattr(self, f"_check_{kind.lower()}", None)
            if rule is not None:
                rule(node, scope)
            stack += self._children(kind, node, scope)
        if missing := set(range(1, self._parameters + 1)) - self._used:
            raise RuleBroken(Rule.PARAMETER, f"the query has no parameter ${min(missing)}, for which there is a value")

    def _check_fields(self, kind: str, node: Node) -> None:
        allowed = FIELDS.get(kind)
        if allowed is None:
            raise RuleBroken(Rule.SYNTAX, f"{kind} is not allowed in queries")
        if unknown := node.keys() - allowed:
            name = min(unknown)
            raise RuleBroken(READING.get(name, Rule.SYNTAX), f"{name} of {kind} is not allowed in queries")

    def _children(self, kind: str, node: Node, scope: Scope) -> Iterator[tuple[str, Node, Scope]]:
        if kind == "SelectStmt" and "withClause" in node:
            yield from self._ctes(node["withClause"], scope)
            scope |= {cte["CommonTableExpr"]["ctename"] for cte in node["withClause"]["ctes"]}
            node = {name: value for name, value in node.items() if name != "withClause"}
        for name, value in node.items():
            for each in value if isinstance(value, list) else (value,):
                if isinstance(each, dict) and each:
                    yield (*self._unwrapped(kind, name, each), scope)

    def _unwrapped(self, kind: str, name: str, value: Node) -> tuple[str, Node]:
        """Return the type and the fields of a child: a wrapper names its type, other fields have a fixed one."""
        if len(value) == 1:
            ((key, inner),) = value.items()
            if key[0].isupper() and isinstance(inner, dict):
                return key, inner
        child = DIRECT.get(f"{kind}.{name}", DIRECT.get(name))
        if child is None:
            raise RuleBroken(Rule.SYNTAX, f"{name} of {kind} is not allowed in queries")
        return child, value

    def _ctes(self, clause: Node, scope: Scope) -> Iterator[tuple[str, Node, Scope]]:
        """Yield common table expressions, each with the names that it sees."""
        self._check_fields("WithClause", clause)
        ctes = [cte["CommonTableExpr"] for cte in clause["ctes"]]
        names = [cte["ctename"] for cte in ctes]
        for number, cte in enumerate(ctes):
            if cte["ctename"].startswith("pg_"):
                raise RuleBroken(Rule.TABLE, f"the name {cte['ctename']} is reserved: give it another one")
            (query,) = cte["ctequery"]
            if query != "SelectStmt":
                raise RuleBroken(Rule.READ_ONLY, f"{cte['ctename']} has to be a SELECT")
            yield "CommonTableExpr", cte, scope | set(names if clause.get("recursive") else names[:number])

    def _check_rangevar(self, node: Node, scope: Scope) -> None:
        namespace, name = node.get("schemaname", ""), node["relname"]
        if not namespace and name in scope:
            return
        schemas = (namespace,) if namespace else self._schema.search_path
        found = next((each for each in schemas if self._schema.has(each, name)), None)
        if node.get("catalogname") or found is None:
            raise RuleBroken(Rule.TABLE, f"there is no table {name} among the described tables")
        if not namespace:
            self._qualify(node, found)

    def _qualify(self, node: Node, namespace: str) -> None:
        self._insert(node.get("location", 0), '"' + namespace.replace('"', '""') + '".')

    def _insert(self, position: int, text: str) -> None:
        self.insertions[position] = self.insertions.get(position, "") + text

    def _check_funccall(self, node: Node, scope: Scope) -> None:
        name = self._own(node["funcname"], FUNCTIONS, "function", Rule.FUNCTION)
        if name in VOLATILE:
            self.repeatable = False
        for insertion in self._sizes.of_call(name, node):
            self._insert(*insertion)

    def _check_typename(self, node: Node, scope: Scope) -> None:
        names = _strings(node.get("names", ()))
        if len(names) == 1 and names[0] in self._types and names[0] not in TYPES:
            self._qualify(node, self._types[names[0]])
        elif tuple(names) not in self._schema.types:
            self._sizes.of_type(self._own(node.get("names", ()), TYPES, "type", Rule.FUNCTION), node)

    def _check_collateclause(self, node: Node, scope: Scope) -> None:
        self._own(node["collname"], None, "collation", Rule.FUNCTION)

    def _check_a_expr(self, node: Node, scope: Scope) -> None:
        if self._own(node["name"], None, "operator", Rule.FUNCTION) == "||":
            self._sizes.of_operator(node)

    def _check_sublink(self, node: Node, scope: Scope) -> None:
        self._own(node.get("operName", ()), None, "operator", Rule.FUNCTION)

    def _check_sortby(self, node: Node, scope: Scope) -> None:
        self._own(node.get("useOp", ()), None, "operator", Rule.FUNCTION)

    def _check_rangetablesample(self, node: Node, scope: Scope) -> None:
        self._own(node["method"], {"bernoulli", "system"}, "sampling method", Rule.FUNCTION)
        self.repeatable = False

    def _own(self, nodes: Sequence[Node], allowed: Any, what: str, rule: Rule) -> str:
        """Check that a name is PostgreSQL's own, and an allowed one; return it."""
        *namespace, name = _strings(nodes) or [""]
        if namespace not in ([], [CATALOG]) or (allowed is not None and name not in allowed):
            raise RuleBroken(rule, f"the {what} {'.'.join([*namespace, name])} is not allowed")
        return name

    def _check_sqlvaluefunction(self, node: Node, scope: Scope) -> None:
        if node["op"] not in CLOCKS:
            name = node["op"].removeprefix("SVFOP_").lower()
            raise RuleBroken(Rule.FUNCTION, f"the function {name} is not allowed")
        self.repeatable = False

    def _check_paramref(self, node: Node, scope: Scope) -> None:
        number = node.get("number", 0)
        if not 1 <= number <= self._parameters:
            raise RuleBroken(Rule.PARAMETER, f"there is no value for the parameter ${number}")
        self._used.add(number)

    def _check_columnref(self, node: Node, scope: Scope) -> None:
        if len(node["fields"]) > 1:
            self._check_selection(node["fields"][-1:])

    def _check_a_indirection(self, node: Node, scope: Scope) -> None:
        self._check_selection(node["indirection"])

    def _check_selection(self, nodes: Sequence[Node]) -> None:
        """Collect `x.f` where f is no described column: for a column of a subquery it is one, else a function call."""
        names = {node["String"]["sval"] for node in nodes if "String" in node}
        self.fields |= names - self._columns - FUNCTIONS - TYPES
        self.repeatable &= not names & VOLATILE


def _strings(nodes: Sequence[Node]) -> list[str]:
    return [node["String"]["sval"] for node in nodes if "String" in node]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
