"""Batches of rows as parameters of one PostgreSQL statement, whose text does not depend on their number.

Rows are sent as JSON, which `json_to_recordset` turns into rows again; all their bytes are one parameter, into which
the rows point. So the statement is compiled once, prepared once, and takes one round trip.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

BLOB = "blob"
"""The parameter with the bytes of all rows."""

DIALECT: sa.Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]

Types = Mapping[str, sa.types.TypeEngine[Any]]


@dataclass
class RowBatch:
    """Collects the parameters of a statement."""

    _parameters: dict[str, str] = field(default_factory=dict)
    _blob: bytearray = field(default_factory=bytearray)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Encode a row: a value of bytes becomes its offset in the blob, from 1, and its length."""
        encoded: dict[str, Any] = {}
        for name, value in row.items():
            if type(value) is bytes:
                encoded[name], encoded[_length(name)] = len(self._blob) + 1, len(value)
                self._blob += value
            else:
                encoded[name] = value
        return encoded

    def add(self, parameter: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows that `row` has encoded, as the parameter of that name."""
        self._parameters[parameter] = json.dumps(list(rows), default=_instant)

    @property
    def parameters(self) -> dict[str, Any]:
        return {**self._parameters, BLOB: bytes(self._blob)}


class BatchRows:
    """The rows of a parameter as the statement reads them."""

    def __init__(self, parameter: str, columns: Iterable[sa.Column[Any]], also: Types | None = None) -> None:
        """`also` has the types of further values, besides the columns of a table."""
        types = {**(also or {}), **dict(_types(columns))}
        given = sa.cast(sa.bindparam(parameter, type_=sa.Text()), sa.JSON())
        rows = sa.func.json_to_recordset(given)
        typed = [sa.column(name, type_) for name, type_ in types.items()]
        self.rows = rows.table_valued(*typed, name=f"batch_{parameter}").render_derived(with_types=True)

    def value(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        """Return the value of a column."""
        value = self.rows.c[column.name]
        if not isinstance(column.type, sa.LargeBinary):
            return value
        blob = sa.bindparam(BLOB, type_=sa.LargeBinary())
        return sa.func.substr(blob, value, self.rows.c[_length(column.name)], type_=sa.LargeBinary())


def compiled(statement: sa.Select[Any]) -> tuple[str, dict[str, Any]]:
    """Compile a statement for the driver. Returns its text and its constants."""
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
