"""Rows on their way to PostgreSQL in one statement, whose text is the same however many they are.

They travel as JSON, which PostgreSQL makes rows of again, and all their bytes as one parameter that the rows point
into. So the statement is compiled once here and prepared once there, and takes one round trip.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

BLOB = "blob"
"""The parameter with the bytes."""

DIALECT: sa.Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]

Types = Mapping[str, sa.types.TypeEngine[Any]]


@dataclass
class Sent:
    """The parameters of a statement."""

    _parameters: dict[str, str] = field(default_factory=dict)
    _blob: bytearray = field(default_factory=bytearray)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row as it travels: of bytes, where they begin and how many they are."""
        sent: dict[str, Any] = {}
        for name, value in row.items():
            if isinstance(value, bytes):
                sent[name], sent[_length(name)] = len(self._blob) + 1, len(value)
                self._blob += value
            else:
                sent[name] = value
        return sent

    def add(self, parameter: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows that `row` has made, under a name."""
        self._parameters[parameter] = json.dumps(list(rows), default=_instant)

    @property
    def parameters(self) -> dict[str, Any]:
        return {**self._parameters, BLOB: bytes(self._blob)}


class Received:
    """The rows of a parameter, as the statement sees them."""

    def __init__(self, parameter: str, columns: Iterable[sa.Column[Any]], also: Types | None = None) -> None:
        """`also` are the types of what is in the rows besides the columns of a table."""
        types = {**(also or {}), **dict(_types(columns))}
        given = sa.cast(sa.bindparam(parameter, type_=sa.Text()), sa.JSON())
        rows = sa.func.json_to_recordset(given)
        typed = [sa.column(name, type_) for name, type_ in types.items()]
        self.rows = rows.table_valued(*typed, name=f"sent_{parameter}").render_derived(with_types=True)

    def value(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        """What the row has for a column."""
        sent = self.rows.c[column.name]
        if not isinstance(column.type, sa.LargeBinary):
            return sent
        blob = sa.bindparam(BLOB, type_=sa.LargeBinary())
        return sa.func.substr(blob, sent, self.rows.c[_length(column.name)], type_=sa.LargeBinary())


def compiled(statement: sa.Select[Any]) -> tuple[str, dict[str, Any]]:
    """A statement as the driver takes it, and its constants."""
    made = statement.compile(dialect=DIALECT)
    return str(made), {name: value for name, value in made.params.items() if value is not None}


def _types(columns: Iterable[sa.Column[Any]]) -> Iterator[tuple[str, sa.types.TypeEngine[Any]]]:
    for column in columns:
        if isinstance(column.type, sa.LargeBinary):
            yield column.name, sa.Integer()
            yield _length(column.name), sa.Integer()
        else:
            yield column.name, column.type


def _length(column: str) -> str:
    return f"{column}_length"


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"not in a row: {type(value).__name__}")
