"""Converts between sql's protobuf messages and its domain."""

from collections.abc import Iterable, Mapping

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import NULL_VALUE
from graphmesh.sql import v1 as pb

from graphmesh_sql.declarations import Dataset
from graphmesh_sql.domain import (
    Column,
    ColumnType,
    Dialect,
    Estimate,
    ForeignKey,
    Head,
    ResultColumn,
    Row,
    Schema,
    Table,
    Truncation,
    Value,
)
from graphmesh_sql.metrics import Filter, MetricQuery
from graphmesh_sql.querying import Beginning, Part, Summary

DIALECTS = {Dialect.SQLITE: pb.Dialect.DIALECT_SQLITE, Dialect.POSTGRESQL: pb.Dialect.DIALECT_POSTGRESQL}


def schema_response(schema: Schema) -> pb.DescribeSchemaResponse:
    return pb.DescribeSchemaResponse(
        dialect=DIALECTS[schema.dialect],
        tables=[_table_message(table) for table in schema.tables],
        prompt_text=schema.prompt_text(),
    )


def query_response(part: Part) -> pb.RunQueryResponse:
    match part:
        case Summary():
            return pb.RunQueryResponse(summary=_summary_message(part))
        case Beginning():
            return pb.RunQueryResponse(columns=_columns_message(part))
        case list():
            return pb.RunQueryResponse(rows=_rows_message(part))


def metrics_response(part: Part) -> pb.QueryMetricsResponse:
    match part:
        case Summary():
            return pb.QueryMetricsResponse(summary=_summary_message(part))
        case Beginning():
            return pb.QueryMetricsResponse(columns=_columns_message(part))
        case list():
            return pb.QueryMetricsResponse(rows=_rows_message(part))


def describe_metrics_response(datasets: Mapping[str, Dataset]) -> pb.DescribeMetricsResponse:
    return pb.DescribeMetricsResponse(
        datasets=[
            pb.Dataset(name=name, description=one.description, metrics=one.metrics, dimensions=one.dimensions)
            for name, one in sorted(datasets.items())
        ]
    )


def metric_query(request: pb.QueryMetricsRequest) -> MetricQuery:
    return MetricQuery(
        request.dataset,
        tuple(request.metrics),
        tuple(request.dimensions),
        tuple(
            Filter(
                one.dimension,
                pb.MetricFilter.Operator.Name(one.operator).removeprefix("OPERATOR_"),
                parameters(one.values),
            )
            for one in request.filters
        ),
        tuple(request.order_by),
    )


def _columns_message(part: Beginning) -> pb.ResultColumns:
    return pb.ResultColumns(
        columns=map(_result_column, part.head.columns),
        estimate=_estimate(part.head.estimate),
        query=part.query,
        fallback=part.fallback,
    )


def _rows_message(rows: list[Row]) -> pb.ResultRows:
    return pb.ResultRows(rows=[_row_message(row) for row in rows])


def estimate_response(head: Head) -> pb.EstimateQueryResponse:
    return pb.EstimateQueryResponse(estimate=_estimate(head.estimate), columns=map(_result_column, head.columns))


def parameters(values: Iterable[pb.Parameter]) -> tuple[Value, ...]:
    return tuple(_value(value) for value in values)


def _value(message: pb.Parameter) -> Value:
    kind = message.WhichOneof("kind")
    value: Value = None if kind in (None, "null_value") else getattr(message, kind)
    return value


def _result_column(column: ResultColumn) -> pb.ResultColumn:
    return pb.ResultColumn(name=column.name, type=_column_type(column.type))


def _estimate(estimate: Estimate) -> pb.QueryEstimate:
    return pb.QueryEstimate(cost=estimate.cost, row_count=estimate.rows, plan=estimate.plan)


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
    return pb.ResultSummary(
        row_count=summary.row_count,
        truncated=summary.truncation is not Truncation.NONE,
        limit=pb.ResultLimit.Value(f"RESULT_LIMIT_{summary.truncation.upper()}"),
        elapsed=_duration(summary.seconds),
        cache_age=None if summary.cache_age is None else _duration(summary.cache_age),
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration


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
