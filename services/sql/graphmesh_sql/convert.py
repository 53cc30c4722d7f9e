"""Converts between sql's protobuf messages and its domain."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import NULL_VALUE
from graphmesh.sql import v1 as pb

from graphmesh_sql.domain import (
    Column,
    ColumnType,
    Dialect,
    ForeignKey,
    ResultPart,
    Row,
    Schema,
    Summary,
    Table,
    Value,
)

DIALECTS = {Dialect.SQLITE: pb.Dialect.DIALECT_SQLITE, Dialect.POSTGRESQL: pb.Dialect.DIALECT_POSTGRESQL}


def schema_response(schema: Schema) -> pb.DescribeSchemaResponse:
    return pb.DescribeSchemaResponse(
        dialect=DIALECTS[schema.dialect],
        tables=[_table_message(table) for table in schema.tables],
        prompt_text=schema.prompt_text(),
    )


def query_response(part: ResultPart) -> pb.RunQueryResponse:
    match part:
        case Summary():
            return pb.RunQueryResponse(summary=_summary_message(part))
        case list():
            return pb.RunQueryResponse(rows=pb.ResultRows(rows=[_row_message(row) for row in part]))
        case _:
            columns = [pb.ResultColumn(name=column.name, type=_column_type(column.type)) for column in part]
            return pb.RunQueryResponse(columns=pb.ResultColumns(columns=columns))


def _table_message(table: Table) -> pb.Table:
    return pb.Table(
        name=table.name,
        view=table.view,
        columns=[_column_message(column) for column in table.columns],
        primary_key=table.primary_key,
        foreign_keys=[_foreign_key_message(key) for key in table.foreign_keys],
        row_estimate=table.row_estimate,
        comment=table.comment,
    )


def _column_message(column: Column) -> pb.TableColumn:
    return pb.TableColumn(
        name=column.name,
        type=_column_type(column.type),
        database_type=column.database_type,
        nullable=column.nullable,
    )


def _foreign_key_message(key: ForeignKey) -> pb.ForeignKey:
    return pb.ForeignKey(columns=key.columns, referred_table=key.referred_table, referred_columns=key.referred_columns)


def _column_type(value: ColumnType) -> pb.ColumnType.ValueType:
    return pb.ColumnType.Value(f"COLUMN_TYPE_{value.upper()}")


def _summary_message(summary: Summary) -> pb.ResultSummary:
    elapsed = Duration()
    elapsed.FromMicroseconds(round(summary.seconds * 1e6))
    return pb.ResultSummary(row_count=summary.row_count, truncated=summary.truncated, elapsed=elapsed)


def _row_message(row: Row) -> pb.Row:
    return pb.Row(values=[_value_message(value) for value in row])


def _value_message(value: Value) -> pb.Value:
    match value:
        case None:
            return pb.Value(null_value=NULL_VALUE)
        case bool():
            return pb.Value(bool_value=value)
        case int():
            return pb.Value(int64_value=value)
        case float():
            return pb.Value(double_value=value)
        case bytes():
            return pb.Value(bytes_value=value)
        case str():
            return pb.Value(string_value=value)
