"""sql over a real channel, as a plain synchronous gRPC client calls it with a generated stub."""

from contextlib import AbstractAsyncContextManager

import grpc
import pytest
from graphmesh.sql import v1 as pb
from graphmesh.sql.v1.sql_pb2_grpc import SqlServiceStub
from graphmesh_chassis.serve import Servable
from graphmesh_sql.__main__ import build
from graphmesh_sql.settings import Settings

from tests.integration.rich_errors import RichError, error_of

TIMEOUT = 5
"""Seconds for each call."""


@pytest.fixture(scope="module")
def grpc_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(sample=f"{tmp_path_factory.mktemp('sql')}/sample.db")


@pytest.fixture(scope="module")
def grpc_servable(grpc_settings: Settings) -> AbstractAsyncContextManager[Servable]:
    return build(grpc_settings)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[SqlServiceStub]:
    return SqlServiceStub


def query_error(grpc_stub: SqlServiceStub, query: str, timeout: float = TIMEOUT) -> RichError:
    return error_of(lambda: list(grpc_stub.RunQuery(pb.RunQueryRequest(query=query), timeout=timeout)))


def test_describes_the_schema(grpc_stub: SqlServiceStub) -> None:
    schema = grpc_stub.DescribeSchema(pb.DescribeSchemaRequest(tables=["dim_product"]), timeout=TIMEOUT)
    [table] = schema.tables
    assert [column.name for column in table.columns] == ["product_id", "name", "category", "list_price_cents"]


def test_streams_columns_rows_and_summary(grpc_stub: SqlServiceStub) -> None:
    request = pb.RunQueryRequest(query="SELECT name FROM dim_product ORDER BY product_id", max_rows=2)
    columns, rows, summary = grpc_stub.RunQuery(request, timeout=TIMEOUT)
    assert [column.name for column in columns.columns.columns] == ["name"]
    names = [row.values[0].string_value for row in rows.rows.rows]
    assert names == ["Heron fountain pen, fine", "Heron fountain pen, broad"]
    assert (summary.summary.row_count, summary.summary.truncated) == (2, True)


def test_refuses_a_write_by_the_rule_it_breaks(grpc_stub: SqlServiceStub) -> None:
    error = query_error(grpc_stub, "DELETE FROM dim_customer")
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "QUERY_REFUSED")
    assert error.metadata == {"rule": "read_only"}


def test_reports_why_the_database_cannot_answer(grpc_stub: SqlServiceStub) -> None:
    error = query_error(grpc_stub, "SELECT totl FROM dim_customer")
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "QUERY_FAILED")
    assert error.metadata == {"detail": "no such column: totl"}


def test_cancelled_stream_leaves_the_service_available(grpc_stub: SqlServiceStub) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    for _ in range(10):
        stream = grpc_stub.RunQuery(pb.RunQueryRequest(query=endless), timeout=TIMEOUT)
        next(stream)
        stream.cancel()
    [_, rows, _] = grpc_stub.RunQuery(pb.RunQueryRequest(query="SELECT 1"), timeout=TIMEOUT)
    assert rows.rows.rows[0].values[0].int64_value == 1


def test_names_the_field_that_violates_the_contract(grpc_stub: SqlServiceStub) -> None:
    error = query_error(grpc_stub, "")
    assert (error.code, error.reason, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", ["query"])
