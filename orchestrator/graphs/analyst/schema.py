"""The schema of the database as values: tables, columns, and the joins along foreign keys that repeat no row."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphmesh.sql import v1 as sql

_PREFIXES = ("dim", "fact", "tbl", "vw")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBERS = ("INT64", "DOUBLE", "DECIMAL")


@dataclass(frozen=True)
class Column:
    table: str
    name: str
    kind: str
    """As in ColumnType: STRING, INT64, DECIMAL, DATE, TIMESTAMP and the others."""
    database_type: str

    @property
    def words(self) -> tuple[str, ...]:
        """The singular words of its name, without those of units."""
        return tuple(word for word in name_words(self.name) if word != "cent")

    @property
    def in_cents(self) -> bool:
        return "cents" in self.name.lower()

    @property
    def is_number(self) -> bool:
        return self.kind in _NUMBERS or self.database_type.upper().startswith(("INT", "NUM", "DEC", "REAL", "FLOAT"))

    @property
    def is_flag(self) -> bool:
        return self.kind == "BOOL" or self.database_type.upper().startswith("BOOL")

    @property
    def is_time(self) -> bool:
        return self.kind in ("DATE", "TIMESTAMP") or self.database_type.upper().startswith(("DATE", "TIME"))

    @property
    def is_id(self) -> bool:
        return self.words[-1:] == ("id",)


@dataclass(frozen=True)
class Join:
    """A foreign key: each row of `table` has at most one row of `other`."""

    table: str
    columns: Sequence[str]
    other: str
    other_columns: Sequence[str]


@dataclass(frozen=True)
class Schema:
    columns: Sequence[Column]
    joins: Sequence[Join]
    keys: Mapping[str, Sequence[str]]
    """The columns of primary keys, by table."""
    views: frozenset[str]
    is_postgresql: bool
    text: str
    """For prompts."""

    @classmethod
    def of(cls, described: sql.DescribeSchemaResponse) -> "Schema":
        return cls(
            columns=[
                Column(table.name, column.name, sql.ColumnType.Name(column.type)[12:], column.database_type)
                for table in described.tables
                for column in table.columns
            ],
            joins=[
                Join(table.name, list(key.columns), key.referred_table, list(key.referred_columns))
                for table in described.tables
                for key in table.foreign_keys
            ],
            keys={table.name: list(table.primary_key) for table in described.tables},
            views=frozenset(table.name for table in described.tables if table.view),
            is_postgresql=described.dialect == sql.Dialect.DIALECT_POSTGRESQL,
            text=described.prompt_text,
        )

    @cached_property
    def tables(self) -> Sequence[str]:
        return list(self.keys)

    def columns_of(self, table: str) -> list[Column]:
        return [column for column in self.columns if column.table == table]

    def paths(self, table: str) -> Mapping[str, Sequence[Join]]:
        """Return the joins to each table of which a row of `table` has at most one row, the shortest ones."""
        found: dict[str, Sequence[Join]] = {table: ()}
        pending = deque([table])
        while pending:
            current = pending.popleft()
            for join in self.joins:
                if join.table == current and join.other not in found:
                    found[join.other] = (*found[current], join)
                    pending.append(join.other)
        return found

    def distances(self, table: str) -> dict[str, int]:
        """Return the number of joins to each table of `paths`."""
        return {other: len(path) for other, path in self.paths(table).items()}

    def bases(self, tables: set[str]) -> Iterator[str]:
        """Yield the tables from which all of `tables` are reached without repeating a row, the nearest first."""
        reached = {base: self.paths(base) for base in self.tables if base not in self.views}
        fit = {base: paths for base, paths in reached.items() if tables <= paths.keys()}
        yield from sorted(fit, key=lambda base: (sum(len(fit[base][table]) for table in tables), base))

    def labels(self, table: str) -> list[Column]:
        """Return the columns by which people know a row: a name, a title, or first and last name."""
        columns = {column.words: column for column in self.columns_of(table)}
        person = [columns[words] for words in (("first", "name"), ("last", "name")) if words in columns]
        named = [column for words, column in columns.items() if words[-1:] in (("name",), ("title",))]
        return person if len(person) == 2 else named[:1]

    def dates(self, table: str) -> list[Column]:
        return [column for column in self.columns_of(table) if column.is_time]


def table_words(table: str) -> tuple[str, ...]:
    """Return the singular words of a table's name, without its schema and prefixes of data warehouses."""
    words = name_words(table.rpartition(".")[2])
    return words[1:] if words[:1] and words[0] in _PREFIXES and len(words) > 1 else words


def name_words(name: str) -> tuple[str, ...]:
    return tuple(singular(word.lower()) for word in _WORD.findall(name))


def singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
