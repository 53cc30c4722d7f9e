"""Reads the schema of a PostgreSQL database: the tables and columns that the current role may read."""

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Protocol, TypeVar

from psycopg import Connection
from psycopg.rows import class_row

from graphmesh_sql.domain import Column, ColumnType, Dialect, ForeignKey, Schema, Table

TYPES: Final = {
    "bool": ColumnType.BOOL,
    **dict.fromkeys(("int2", "int4", "int8", "oid"), ColumnType.INT64),
    **dict.fromkeys(("float4", "float8"), ColumnType.DOUBLE),
    "numeric": ColumnType.DECIMAL,
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "char"), ColumnType.STRING),
    "bytea": ColumnType.BYTES,
    "date": ColumnType.DATE,
    **dict.fromkeys(("timestamp", "timestamptz"), ColumnType.TIMESTAMP),
}
"""By PostgreSQL's name of the type; values of all other types are sent as text."""

RELATIONS_QUERY: Final = """
    SELECT c.oid, n.nspname AS namespace, c.relname AS name, c.relkind IN ('v', 'm') AS view,
           CASE WHEN n.nspname = ANY (current_schemas(false)) THEN quote_ident(c.relname)
                ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END AS quoted_name,
           CASE WHEN c.reltuples >= 0 AND c.relkind <> 'v' THEN c.reltuples::bigint END AS row_estimate,
           coalesce(obj_description(c.oid, 'pg_class'), '') AS comment
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
      AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
    ORDER BY quoted_name
"""
COLUMNS_QUERY: Final = """
    SELECT a.attrelid AS oid, quote_ident(a.attname) AS name, t.typname AS type,
           format_type(a.atttypid, a.atttypmod) AS database_type, NOT a.attnotnull AS nullable
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = ANY (%(relations)s) AND a.attnum > 0 AND NOT a.attisdropped
      AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
    ORDER BY a.attrelid, a.attnum
"""
KEYS_QUERY: Final = """
    SELECT k.conrelid AS oid, k.contype = 'p' AS primary, k.confrelid AS referred,
           ARRAY (SELECT quote_ident(a.attname) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, position)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
                  ORDER BY u.position)::text[] AS columns,
           ARRAY (SELECT quote_ident(a.attname) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, position)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number
                  ORDER BY u.position)::text[] AS referred_columns
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = ANY (%(relations)s) AND k.contype IN ('p', 'f')
    ORDER BY k.conrelid, k.conname
"""
TYPES_QUERY: Final = """
    SELECT DISTINCT n.nspname AS namespace, e.typname AS name
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE t.oid END
         JOIN pg_catalog.pg_namespace n ON n.oid = e.typnamespace
    WHERE a.attrelid = ANY (%(relations)s) AND a.attnum > 0 AND NOT a.attisdropped AND e.typtype IN ('e', 'd')
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
    ORDER BY 1, 2
"""


@dataclass(frozen=True)
class RelationRow:
    """A row of RELATIONS_QUERY."""

    oid: int
    namespace: str
    name: str
    view: bool
    quoted_name: str
    row_estimate: int | None
    comment: str


@dataclass(frozen=True)
class ColumnRow:
    """A row of COLUMNS_QUERY."""

    oid: int
    name: str
    type: str
    database_type: str
    nullable: bool


@dataclass(frozen=True)
class KeyRow:
    """A row of KEYS_QUERY: a primary key, or a foreign key to the relation `referred`."""

    oid: int
    primary: bool
    referred: int
    columns: list[str]
    referred_columns: list[str]


@dataclass(frozen=True)
class SearchPathRow:
    schemas: list[str]


@dataclass(frozen=True)
class TypeRow:
    namespace: str
    name: str


class HasOid(Protocol):
    @property
    def oid(self) -> int: ...


RowT = TypeVar("RowT")
OidRowT = TypeVar("OidRowT", bound=HasOid)


def describe(connection: Connection[Any]) -> Schema:
    relations = _rows(connection, RelationRow, RELATIONS_QUERY)
    oids = [relation.oid for relation in relations]
    columns = _by_oid(_rows(connection, ColumnRow, COLUMNS_QUERY, relations=oids))
    keys = _by_oid(_rows(connection, KeyRow, KEYS_QUERY, relations=oids))
    types = tuple((row.namespace, row.name) for row in _rows(connection, TypeRow, TYPES_QUERY, relations=oids))
    (path,) = _rows(connection, SearchPathRow, "SELECT current_schemas(false)::text[] AS schemas")
    names = {relation.oid: relation.quoted_name for relation in relations}
    tables = (
        _table(relation, columns.get(relation.oid, []), keys.get(relation.oid, []), names) for relation in relations
    )
    return Schema(Dialect.POSTGRESQL, tuple(path.schemas), tuple(tables), types)


def _rows(connection: Connection[Any], row: type[RowT], query: str, **values: object) -> list[RowT]:
    return connection.cursor(row_factory=class_row(row)).execute(query, values).fetchall()


def _table(relation: RelationRow, columns: list[ColumnRow], keys: list[KeyRow], names: dict[int, str]) -> Table:
    return Table(
        location=(relation.namespace, relation.name),
        name=relation.quoted_name,
        view=relation.view,
        columns=tuple(
            Column(column.name, TYPES.get(column.type, ColumnType.OTHER), column.database_type, column.nullable)
            for column in columns
        ),
        primary_key=tuple(name for key in keys if key.primary for name in key.columns),
        foreign_keys=tuple(
            ForeignKey(tuple(key.columns), names[key.referred], tuple(key.referred_columns))
            for key in keys
            if key.referred in names
        ),
        row_estimate=relation.row_estimate,
        comment=relation.comment,
    )


def _by_oid(rows: list[OidRowT]) -> dict[int, list[OidRowT]]:
    """Group rows that are ordered by oid."""
    return {oid: list(group) for oid, group in groupby(rows, key=attrgetter("oid"))}
