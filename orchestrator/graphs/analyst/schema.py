"""The schema of the database as values: tables, columns, and the joins along foreign keys that repeat no row."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphmesh.sql import v1 as sql

_PREFIXES = ("dim", "fact", "tbl", "vw")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
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
        is_postgresql = described.dialect == sql.Dialect.DIALECT_POSTGRESQL
        plain = unquoted if is_postgresql else str
        tables = [(plain(table.name), table) for table in described.tables]
        return cls(
            columns=[
                Column(name, plain(column.name), sql.ColumnType.Name(column.type)[12:], column.database_type)
                for name, table in tables
                for column in table.columns
            ],
            joins=[
                Join(name, [*map(plain, key.columns)], plain(key.referred_table), [*map(plain, key.referred_columns)])
                for name, table in tables
                for key in table.foreign_keys
            ],
            keys={name: [*map(plain, table.primary_key)] for name, table in tables},
            views=frozenset(name for name, table in tables if table.view),
            is_postgresql=is_postgresql,
            text=described.prompt_text,
        )

    @cached_property
    def tables(self) -> Sequence[str]:
        return list(self.keys)

    def is_foreign_key(self, column: Column) -> bool:
        return any(join.table == column.table and column.name in join.columns for join in self.joins)

    def is_reference(self, column: Column) -> bool:
        """Return whether a column names a row and states nothing of it."""
        return column.is_id or self.is_foreign_key(column)

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


def unquoted(name: str) -> str:
    """Return a name of PostgreSQL, which is described as a query has to write it, without its quotes."""
    return _QUOTED.sub(lambda found: found[1].replace('""', '"'), name)


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
