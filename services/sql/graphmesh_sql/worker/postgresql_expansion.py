"""Bounds how far PostgreSQL expands a query before it runs: it plans without a limit of memory or time.

The planner replaces columns of subqueries by their expressions, and the analysis of BETWEEN and IN copies the operand:
twenty nested subqueries whose columns are used twice are a million expressions. What each expression becomes is
counted here, with columns found by their names alone. Uses of columns that collect many values are counted, too, since
each may copy megabytes in one step.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from graphmesh_sql.domain import Rule, RuleBroken

MAX_NODES: Final = 100_000
"""Nodes of the expressions of one SELECT, after expansion."""
MAX_USES: Final = 10
"""Uses, in the expressions of one SELECT, of what it or its subqueries collect."""
USE: Final = 10**9
"""One use; a count is the number of nodes, and so many for each use."""
_COLLECTING = """
    string_agg array_agg json_agg json_agg_strict jsonb_agg jsonb_agg_strict json_object_agg json_object_agg_strict
    json_object_agg_unique json_object_agg_unique_strict jsonb_object_agg jsonb_object_agg_strict range_agg
    jsonb_object_agg_unique jsonb_object_agg_unique_strict JsonObjectAgg JsonArrayAgg JsonArrayQueryConstructor
    ARRAY_SUBLINK
"""
COLLECTING: Final = frozenset(_COLLECTING.split())
"""Functions, nodes and subqueries; in the query of a recursive table `||` and `concat`, too."""
GROWING: Final = COLLECTING | {"||", "concat"}
CLAUSES: Final = (
    *("whereClause", "groupClause", "havingClause", "sortClause", "distinctClause", "windowClause"),
    *("valuesLists", "limitCount", "limitOffset"),
)
COPIES: Final = {
    "AEXPR_BETWEEN": (2, 1),
    "AEXPR_NOT_BETWEEN": (2, 1),
    "AEXPR_BETWEEN_SYM": (4, 2),
    "AEXPR_NOT_BETWEEN_SYM": (4, 2),
}
"""How often the analysis copies the operand on the left, and those on the right."""

Node = dict[str, Any]
Columns = list[tuple[str, int]]
"""Names and nodes of the columns of a relation, in their order. The name is empty where PostgreSQL makes it up."""
Scope = Mapping[str, int]
"""Nodes by the names of columns and relations."""


def check_expansion(select: Node) -> None:
    """Check the tree of a SELECT.

    Raises:
        RuleBroken: it becomes too large.
    """
    _Select({}, {}).columns(select)


class _Select:
    """A SELECT, with the common table expressions and the names of columns and relations that it sees."""

    def __init__(self, ctes: Mapping[str, Columns], outer: Scope, growing: frozenset[str] = COLLECTING) -> None:
        self._ctes = dict(ctes)
        self._outer = dict(outer)
        self._own: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._growing = growing
        self._grows = False
        """Whether the expression that is being counted makes a column that counts as one that collects."""

    def columns(self, node: Node) -> Columns:
        """Return the columns of the result. Raises RuleBroken."""
        for cte in node.get("withClause", {}).get("ctes", ()):
            found = cte["CommonTableExpr"]
            growing = GROWING if node["withClause"].get("recursive") else COLLECTING
            made = self._inner(found["ctequery"].get("SelectStmt", {}), growing)
            self._ctes[found["ctename"]] = _renamed(made, found.get("aliascolnames", ()))
        if "larg" in node:
            left, right = (self._inner(node[arm], self._growing) for arm in ("larg", "rarg"))
            made = [(name, _most((nodes, other))) for (name, nodes), (_, other) in zip(left, right, strict=False)]
        else:
            for item in node.get("fromClause", ()):
                _merge(self._own, self._relation(item))
            made = self._targets(node)
        for clause in CLAUSES:
            self._nodes(node.get(clause))
        return made

    def _targets(self, node: Node) -> Columns:
        made: Columns = []
        total = 0
        for target in node.get("targetList", ()):
            value = target["ResTarget"].get("val", {})
            fields = value.get("ColumnRef", {}).get("fields", ())
            if fields and "A_Star" in fields[-1]:
                made += self._own.items()
                continue
            self._grows = False
            nodes = self._nodes(value)
            is_whole = fields or any(_name(*each) in COLLECTING for each in value.items())
            total = _check(total + (nodes % USE if is_whole else nodes))  # what is only passed on is not copied
            names = [field["String"]["sval"] for field in fields if "String" in field]
            name = target["ResTarget"].get("name", names[-1] if names else "")
            made.append((name, nodes if fields else nodes % USE + USE * (self._grows or nodes >= USE)))
        return made

    def _inner(self, node: Node, growing: frozenset[str] = COLLECTING) -> Columns:
        seen = dict(self._outer)
        _merge(seen, self._rows.items())
        _merge(seen, self._own.items())
        return _Select(self._ctes, seen, growing).columns(node)

    def _relation(self, item: Node) -> Columns:
        """Return the columns of an item of FROM, whose name stands for all of them."""
        ((kind, node),) = item.items()
        columns: Columns = []
        name = node.get("alias", {}).get("aliasname", node.get("relname", ""))
        match kind:
            case "RangeVar":
                columns = [] if node.get("schemaname") else self._ctes.get(node["relname"], [])
            case "RangeSubselect":
                columns = self._inner(node["subquery"].get("SelectStmt", {}))
            case "RangeTableSample":
                return self._relation(node["relation"])
            case "JoinExpr":
                for side in ("larg", "rarg"):
                    columns += self._relation(node[side])
                    _merge(self._own, columns)
                self._nodes(node.get("quals"))
            case _:
                self._nodes(node)
        columns = _renamed(columns, node.get("alias", {}).get("colnames", ()))
        if name:
            _merge(self._rows, [(name, max(1, sum(nodes for _, nodes in columns)))])
        return columns

    def _nodes(self, tree: Any) -> int:
        """Return the nodes that a part of the tree becomes. Raises RuleBroken."""
        nodes = 0
        for each in tree if isinstance(tree, list) else (tree,):
            if isinstance(each, dict):
                for kind, value in each.items():
                    nodes += self._of_kind(kind, value)
        return _check(nodes)

    def _of_kind(self, kind: str, value: Any) -> int:
        match kind:
            case "ColumnRef":
                return self._of_reference(value["fields"])
            case "A_Expr" if value.get("kind") in COPIES:
                left, right = COPIES[value["kind"]]
                return 1 + left * self._nodes(value.get("lexpr")) + right * self._nodes(value.get("rexpr"))
            case "A_Expr" if value.get("kind") == "AEXPR_IN":
                items = value.get("rexpr", {}).get("List", {}).get("items", ())
                return 1 + max(1, len(items)) * self._nodes(value.get("lexpr")) + self._nodes(value.get("rexpr"))
            case "SelectStmt":
                return 1 + sum(nodes for _, nodes in self._inner(value))
            case _ if isinstance(value, dict | list):
                name = _name(kind, value)
                self._grows |= name in self._growing
                return kind[0].isupper() + USE * (name in COLLECTING) + self._nodes(value)
        return 0

    def _of_reference(self, fields: Sequence[Node]) -> int:
        """Return the nodes of a column, or of a row; a name that is not known may be one that PostgreSQL makes up."""
        name = next((field["String"]["sval"] for field in reversed(fields) if "String" in field), "")
        scopes = (self._outer, self._rows, self._own)
        known = [scope[name] for scope in scopes if name in scope]
        return _most(known or [scope.get("", 1) for scope in scopes])


def _name(kind: str, value: Any) -> str:
    """Return the name of a function or operator, the kind of a subquery, or that of another node."""
    match kind:
        case "FuncCall":
            return str(value["funcname"][-1]["String"]["sval"])
        case "A_Expr":
            return str(value["name"][-1]["String"]["sval"])
        case "SubLink":
            return str(value.get("subLinkType", ""))
    return kind


def _merge(scope: dict[str, int], columns: Iterable[tuple[str, int]]) -> None:
    """Add columns; of those of one name the largest counts."""
    for name, nodes in columns:
        scope[name] = _most((nodes, scope.get(name, 1)))


def _renamed(columns: Columns, names: Sequence[Node]) -> Columns:
    """Return the columns under new names: each may be any of them, since those of tables are not listed."""
    most = _most([nodes for _, nodes in columns] or [1])
    return [*columns, *((name["String"]["sval"], most) for name in names)]


def _most(counts: Sequence[int]) -> int:
    return max(count // USE for count in counts) * USE + max(count % USE for count in counts)


def _check(nodes: int) -> int:
    if nodes // USE > MAX_USES:
        raise RuleBroken(Rule.COMPLEXITY, f"the expressions of a query use more than {MAX_USES} times what it collects")
    if nodes % USE > MAX_NODES:
        raise RuleBroken(
            Rule.COMPLEXITY, f"the expressions of the query, with those of its subqueries, are more than {MAX_NODES}"
        )
    return nodes
