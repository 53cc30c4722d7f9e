"""Plans of queries as values, and the SQL of names."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyst.schema import Column, Join

DURATIONS = {"millisecond": 1000.0, "second": 1.0, "minute": 1 / 60}
"""The last words of columns with durations, and how many of them a second has."""
PRICES = ("price", "cost")
AMOUNTS = ("total", "amount", "revenue")


class Unclear(Exception):
    """There is no plan. `reason` is the key of a reply, `facts` are what it states."""

    def __init__(self, reason: str, **facts: str) -> None:
        self.reason, self.facts = reason, facts
        super().__init__(reason)


@dataclass(frozen=True)
class Measure:
    """A number of each group of rows."""

    table: str
    expression: str
    label: str
    unit: str = ""
    where: str = ""
    counted: str = ""
    """The expression of a count in a query of another table; empty where the measure is no count."""
    reads: str = ""
    """A further table that the expression reads."""
    is_extreme: bool = False
    """Whether it is the largest or smallest value, and not one that groups are ranked by."""


@dataclass(frozen=True)
class Group:
    """The columns that rows are grouped by."""

    table: str
    keys: Sequence[str]
    shown: str
    label: str


@dataclass(frozen=True)
class Plan:
    """A query, and what it computes."""

    query: str
    parameters: Sequence[str | float]
    explanation: str
    unit: str
    is_single: bool = False
    """Whether the result is one number."""
    is_ranked: bool = False
    """Whether only the first of the rows is the answer, with those equal to it."""
    has_period: bool = False
    top: int = 0
    """How many rows of a ranking are wanted; 0: all."""


def sql_name(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def quoted(name: Column | str) -> str:
    """Return a table, or a column with its table, as a query has to write it."""
    return sql_name(name) if isinstance(name, str) else sql_column(name)


def sql_column(column: Column) -> str:
    return f"{sql_name(column.table)}.{sql_name(column.name)}"


def join_condition(join: Join) -> str:
    pairs = zip(join.columns, join.other_columns, strict=True)
    return " AND ".join(
        f"{sql_name(join.table)}.{sql_name(one)} = {sql_name(join.other)}.{sql_name(other)}" for one, other in pairs
    )


def scaled(expression: str, column: Column) -> str:
    return f"{expression} / 100.0" if column.in_cents else expression
