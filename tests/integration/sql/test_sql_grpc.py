"""sql over a real channel, as a plain synchronous gRPC client calls it with a generated stub."""

from contextlib import AbstractAsyncContextManager

import pytest
from graphmesh.sql import v1 as pb
from graphmesh.sql.v1.sql_pb2_grpc import SqlServiceStub
from graphmesh_chassis.errors import InvalidRequest
from graphmesh_chassis.serve import Servable
from graphmesh_chassis.testing.plain_client import TIMEOUT, fails_with
from graphmesh_sql.__main__ import build
from graphmesh_sql.errors import QueryFailed, QueryRefused
from graphmesh_sql.settings import Settings


@pytest.fixture(scope="module")
def grpc_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(sample=f"{tmp_path_factory.mktemp('sql')}/sample.db")


@pytest.fixture(scope="module")
def grpc_servable(grpc_settings: Settings) -> AbstractAsyncContextManager[Servable]:
    return build(grpc_settings)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[SqlServiceStub]:
    return SqlServiceStub


def run_query(grpc_stub: SqlServiceStub, query: str, max_rows: int = 0) -> list[pb.RunQueryResponse]:
    return list(grpc_stub.RunQuery(pb.RunQueryRequest(query=query, max_rows=max_rows), timeout=TIMEOUT))


def test_describes_the_schema(grpc_stub: SqlServiceStub) -> None:
    schema = grpc_stub.DescribeSchema(pb.DescribeSchemaRequest(tables=["dim_product"]), timeout=TIMEOUT)
    [table] = schema.tables
    assert [column.name for column in table.columns] == ["product_id", "name", "category", "list_price_cents"]


def test_streams_columns_rows_and_summary(grpc_stub: SqlServiceStub) -> None:
    query = "SELECT name FROM dim_product ORDER BY product_id"
    columns, rows, summary = run_query(grpc_stub, query, max_rows=2)
    assert [column.name for column in columns.columns.columns] == ["name"]
    names = [row.values[0].string_value for row in rows.rows.rows]
    assert names == ["Heron fountain pen, fine", "Heron fountain pen, broad"]
    assert (summary.summary.row_count, summary.summary.limit) == (2, pb.ResultLimit.RESULT_LIMIT_ROWS)


def test_refuses_a_write_by_the_rule_it_breaks(grpc_stub: SqlServiceStub) -> None:
    with fails_with(QueryRefused) as error:
        run_query(grpc_stub, "DELETE FROM dim_customer")
    assert error.metadata == {"rule": "read_only"}


def test_reports_why_the_database_cannot_answer(grpc_stub: SqlServiceStub) -> None:
    with fails_with(QueryFailed) as error:
        run_query(grpc_stub, "SELECT totl FROM dim_customer")
    assert error.metadata == {"detail": "no such column: totl"}


def test_cancelled_stream_leaves_the_service_available(grpc_stub: SqlServiceStub) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    for _ in range(10):
        stream = grpc_stub.RunQuery(pb.RunQueryRequest(query=endless), timeout=TIMEOUT)
        next(stream)
        stream.cancel()
    _, rows, _ = run_query(grpc_stub, "SELECT 1")
    assert rows.rows.rows[0].values[0].int64_value == 1


def test_names_the_field_that_violates_the_contract(grpc_stub: SqlServiceStub) -> None:
    with fails_with(InvalidRequest) as error:
        run_query(grpc_stub, "")
    assert error.fields == ["query"]
