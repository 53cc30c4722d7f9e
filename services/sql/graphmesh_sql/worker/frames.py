"""Frames between the service and a worker: a length of four bytes, and marshalled plain values.

`marshal` knows exactly the values of results (None, bool, int, float, str, bytes, and tuples and lists of them), and
costs a tenth of JSON.
"""

import marshal
import struct
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, BinaryIO, Final

from graphmesh_sql.domain import (
    Column,
    ColumnType,
    Dialect,
    End,
    Estimate,
    ForeignKey,
    Head,
    Limits,
    Query,
    ResultColumn,
    ResultPart,
    Row,
    Schema,
    Table,
    Truncation,
    Unchanged,
)

HEADER: Final = struct.Struct(">I")


def encode(value: Any) -> bytes:
    payload = marshal.dumps(value)
    return HEADER.pack(len(payload)) + payload


def decode(payload: bytes) -> Any:
    return marshal.loads(payload)


def read(stream: BinaryIO) -> Any:
    """Read a frame.

    Raises:
        EOFError: the other side has ended.
    """
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    payload = stream.read(*HEADER.unpack(header))
    return decode(payload)


def plain(value: Any) -> Any:
    """Convert a dataclass, and those inside of it, to tuples; an enum to its value."""
    if is_dataclass(value):
        return tuple(plain(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value.value if isinstance(value, Enum) else value


def schema_of(value: Any) -> Schema:
    """Convert the tuples of a schema back."""
    dialect, search_path, tables, types = value
    return Schema(Dialect(dialect), search_path, tuple(map(_table, tables)), types)


def query_of(value: Any) -> Query:
    """Convert the tuples of a query back."""
    text, parameters, tenant, role, unless_version, limits = value
    return Query(text, parameters, tenant, role, unless_version, Limits(*limits))


def part_of(name: str, value: Any) -> ResultPart:
    """Convert the tuples of a part of a result back."""
    match name, value:
        case "Head", [columns, estimate, *rest]:
            typed = tuple(ResultColumn(column, ColumnType(kind)) for column, kind in columns)
            return Head(typed, Estimate(*estimate), *rest)
        case "Unchanged", _:
            return Unchanged()
        case "End", [row_count, truncation]:
            return End(row_count, Truncation(truncation))
    rows: list[Row] = value
    return rows


def _table(value: Any) -> Table:
    location, name, view, columns, primary_key, foreign_keys, row_estimate, comment = value
    return Table(
        location,
        name,
        view,
        tuple(Column(name, ColumnType(kind), declared, nullable) for name, kind, declared, nullable in columns),
        primary_key,
        tuple(ForeignKey(*key) for key in foreign_keys),
        row_estimate,
        comment,
    )
