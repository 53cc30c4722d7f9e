"""The parameters of a query: `$1`, `$2` (or `?1`, `:1`) are the first and the second value, `?` is the next one."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import TypeVar

from graphmesh_sql.domain import Rule, RuleBroken, Value

T = TypeVar("T")


class Numbered(dict[str, Value]):
    """Values by their number; remembers which were read."""

    def __init__(self, values: tuple[Value, ...]) -> None:
        super().__init__((str(number), value) for number, value in enumerate(values, 1))
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Value:
        self.used.add(name)
        return super().__getitem__(name)


def bound(execute: Callable[[Mapping[str, Value] | tuple[Value, ...]], T], values: tuple[Value, ...]) -> T:
    """Call `execute` with the values, by number or, where the text has a plain `?`, in order.

    Raises:
        RuleBroken: a parameter has no value, or a value has no parameter.
    """
    numbered = Numbered(values)
    try:
        result = execute(numbered)
    except sqlite3.ProgrammingError as error:
        if "has no name" in str(error):
            return execute(values)
        raise
    if unused := sorted(set(numbered) - numbered.used):
        raise RuleBroken(Rule.PARAMETER, f"the query has no parameter ${unused[0]}, for which there is a value")
    return result
