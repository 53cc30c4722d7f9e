"""Bounds what single calls make: `repeat`, `lpad`, `rpad`, `format`, `array_fill`, padded types, chains of `||`.

Each of them makes a value of any size in one step, in which PostgreSQL checks no limit and is not interrupted. Sizes
that are written as numbers are checked in the tree; others are checked by PostgreSQL, in arithmetic that is inserted
around them: `n` becomes `(n)+K-K`, which overflows where n is too large. What a call inserts many times, such as a
separator, has to be a short literal.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

from graphmesh_sql.domain import Rule, RuleBroken
from graphmesh_sql.worker.postgresql_parser import tokens

MAX_CONSTANT: Final = 100_000
"""Characters that a call may make whose size is written as a number."""
MAX_COMPUTED: Final = 10_000
"""Characters of a call whose size is computed."""
MAX_TOTAL: Final = 1_000_000
"""Characters that all calls of a query may make for one row."""
MAX_INSERTED: Final = 200
"""Characters of a text that a call inserts many times, and values that one format has."""
MAX_CHAIN: Final = 64
"""Values that one expression concatenates: each step copies what is there."""
INSERTED: Final = {"array_to_string": (1, 2), "concat_ws": (0,), "regexp_replace": (2,), "array_replace": (2,)}
"""The positions of arguments that are inserted many times."""
PADDED_TYPES: Final = frozenset(("bpchar", "bit", "varbit"))
PADDING: Final = {"repeat": 1, "lpad": 1, "rpad": 1}
"""The position of the argument that is a number of characters, or of repetitions."""
OVERFLOW: Final = 2**31 - 1 - MAX_COMPUTED
_WIDTH = re.compile(r"%(?:\d+\$)?-*(\d+|\*)")
_OPENING, _CLOSING, _COMMA = frozenset(map(ord, "([")), frozenset(map(ord, ")]")), ord(",")

Node = dict[str, Any]


class Sizes:
    """The sizes of one query's calls."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left = MAX_TOTAL

    def of_call(self, name: str, node: Node) -> Iterator[tuple[int, str]]:
        """Check a call, and yield what is to be inserted, with the positions in bytes.

        Raises:
            RuleBroken: it makes more than a call may make.
        """
        arguments = node.get("args", [])
        if name in PADDING and len(arguments) > PADDING[name]:
            yield from self._of_padding(name, node, arguments)
        elif name == "format" and arguments:
            self._take("format", self._of_format(arguments[0]))
        elif name == "array_fill" and len(arguments) > 1:
            self._take("array_fill", _elements(arguments[1]))
        elif name == "ts_headline" and len(arguments) > 2:
            _require_short(name, arguments[-1])
        for position in INSERTED.get(name, ()):
            if position < len(arguments):
                _require_short(name, arguments[position])

    def of_operator(self, node: Node) -> None:
        """Check a chain of `||`. Raises RuleBroken."""
        for _ in range(MAX_CHAIN):
            node = node.get("lexpr", {}).get("A_Expr", {})
            if not _is_concatenation(node):
                return
        raise RuleBroken(Rule.COMPLEXITY, f"an expression concatenates more than {MAX_CHAIN} values")

    def of_type(self, name: str, node: Node) -> None:
        """Check the length of a type. Raises RuleBroken."""
        if name in PADDED_TYPES:
            for length in map(constant, node.get("typmods", ())):
                self._take(name, length or 0)

    def _of_padding(self, name: str, node: Node, arguments: list[Node]) -> Iterator[tuple[int, str]]:
        number = constant(arguments[PADDING[name]])
        if number is not None:
            unit = len(_literal(arguments[0]) or "x") if name == "repeat" else 1
            self._take(name, max(0, number) * unit)
            return
        self._take(name, MAX_COMPUTED)
        begin, end = list(self._arguments(node.get("location", 0)))[PADDING[name]]
        yield begin, "("
        yield end, f")+{OVERFLOW}-{OVERFLOW}"

    def _of_format(self, node: Node) -> int:
        """Return the sum of all widths. Raises RuleBroken."""
        text = _literal(node)
        if text is None:
            raise RuleBroken(Rule.FUNCTION, "the format of the function format has to be written as a text")
        widths = _WIDTH.findall(text.replace("%%", ""))
        if "*" in widths:
            raise RuleBroken(Rule.FUNCTION, "the function format may not take a width from an argument")
        if text.count("%") > MAX_INSERTED:
            raise RuleBroken(Rule.COMPLEXITY, f"a format has more than {MAX_INSERTED} values")
        return sum(int(width[:10]) for width in widths)

    def _take(self, name: str, size: int) -> None:
        self._left -= size
        if size > MAX_CONSTANT or self._left < 0:
            raise RuleBroken(
                Rule.COST,
                f"{name} makes too large a value: one call makes {MAX_CONSTANT} characters at most, "
                f"and all calls of a query {MAX_TOTAL}",
            )

    def _arguments(self, location: int) -> Iterator[tuple[int, int]]:
        """Yield where the arguments of the call at a position begin and end, in bytes."""
        depth = begin = 0
        for start, end, kind in tokens(self._text):
            if start < location:
                continue
            if kind in _CLOSING:
                depth -= 1
            if (depth == 1 and kind == _COMMA) or (not depth and kind in _CLOSING):
                yield begin, start
                if not depth:
                    return
                begin = end
            if kind in _OPENING:
                depth += 1
                begin = begin or end


def constant(node: Node) -> int | None:
    """Return the number of a literal; None for anything else."""
    value = node.get("A_Const")
    if value is None or value.get("isnull"):
        return None
    if "ival" in value:
        return int(value["ival"].get("ival", 0))
    text = str(value.get("fval", {}).get("fval", "")).replace("_", "")
    try:
        return math.ceil(float(text))
    except (ValueError, OverflowError):
        return None


def _literal(node: Node) -> str | None:
    value = node.get("A_Const", {}).get("sval")
    return None if value is None else str(value.get("sval", ""))


def _require_short(name: str, node: Node) -> None:
    """Check that an argument is a literal, be it with a cast or a sign, or a call of chr. Raises RuleBroken."""
    while "TypeCast" in node:
        node = node["TypeCast"]["arg"]
    if "A_Expr" in node and "lexpr" not in node["A_Expr"]:
        node = node["A_Expr"]["rexpr"]
    called = [part["String"]["sval"] for part in node.get("FuncCall", {}).get("funcname", ())]
    if called[-1:] == ["chr"] or ("A_Const" in node and len(_literal(node) or "") <= MAX_INSERTED):
        return
    raise RuleBroken(
        Rule.FUNCTION,
        f"what the function {name} inserts has to be written as a text of at most {MAX_INSERTED} characters",
    )


def _is_concatenation(node: Node) -> bool:
    return [part["String"]["sval"] for part in node.get("name", ())][-1:] == ["||"]


def _elements(node: Node) -> int:
    """Return the elements of an array with such dimensions. Raises RuleBroken."""
    numbers = [constant(each) for each in node.get("A_ArrayExpr", {}).get("elements", [])]
    known = [number for number in numbers if number is not None]
    if not numbers or len(known) < len(numbers):
        raise RuleBroken(Rule.FUNCTION, "the dimensions of the function array_fill have to be written as numbers")
    return math.prod(max(0, number) for number in known)
