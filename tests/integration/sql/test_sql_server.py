"""sql over a real channel, with every hook, over the sample warehouse."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.sql import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded, InvalidRequest, ScopeMissing
from graphmesh_chassis.settings import BadSetting
from graphmesh_chassis.testing import Served, running
from graphmesh_sql.__main__ import build
from graphmesh_sql.domain import Rule
from graphmesh_sql.errors import QueryFailed, QueryRefused
from graphmesh_sql.sample import make_sample
from graphmesh_sql.settings import Settings

from tests.integration.sql.sample_version import wait_for_version

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    settings = Settings(sample=str(tmp_path / "sample.db"), max_rows=5000)
    async with build(settings) as servable, running(servable, settings) as server:
        yield server


@pytest.fixture
def channel(served: Served) -> Channel:
    return served.channel


@dataclass(frozen=True)
class Result:
    columns: list[tuple[str, pb.ColumnType.ValueType]]
    rows: list[list[object]]
    summary: pb.ResultSummary
    parts: list[str | None]


async def run_query(
    channel: Channel,
    query: str,
    max_rows: int = 0,
    seconds: float = 60.0,
    *,
    parameters: Sequence[pb.Parameter] = (),
    role: str = "",
    refresh: bool = False,
    headers: Sequence[tuple[str, str]] = (),
) -> Result:
    request = pb.RunQueryRequest(query=query, max_rows=max_rows, parameters=parameters, role=role, refresh=refresh)
    stream = channel.stream(pb.SqlService.RunQuery, request, deadline=Deadline.after(seconds), headers=headers)
    parts = [part async for part in stream]
    return Result(
        columns=[(column.name, column.type) for column in parts[0].columns.columns],
        rows=[[_value(value) for value in row.values] for part in parts for row in part.rows.rows],
        summary=parts[-1].summary,
        parts=[part.WhichOneof("part") for part in parts],
    )


def _value(value: pb.Value) -> object:
    kind = value.WhichOneof("kind")
    return None if kind in (None, "null_value") else getattr(value, kind)


async def test_describe_schema_returns_tables_and_prompt_text(channel: Channel) -> None:
    response = await channel.unary(
        pb.SqlService.DescribeSchema, pb.DescribeSchemaRequest(), deadline=Deadline.after(60)
    )
    assert [table.name for table in response.tables] == [
        "dim_customer", "dim_product", "fact_order_line", "monthly_revenue"
    ]  # fmt: skip
    assert response.dialect == pb.Dialect.DIALECT_SQLITE
    assert len(response.prompt_text.splitlines()) == 4
    one = pb.DescribeSchemaRequest(tables=["dim_product", "nowhere"])
    response = await channel.unary(pb.SqlService.DescribeSchema, one, deadline=Deadline.after(60))
    assert [table.name for table in response.tables] == ["dim_product"]


async def test_query_streams_columns_rows_and_summary(channel: Channel) -> None:
    """In this order, each value with its type."""
    result = await run_query(
        channel,
        """SELECT p.category, sum(f.quantity) AS items, avg(f.amount_cents) AS mean, NULL AS none, x'00ff' AS bytes
        FROM fact_order_line f JOIN dim_product p USING (product_id) GROUP BY 1 ORDER BY 1""",
    )
    assert result.parts == ["columns", "rows", "summary"]
    assert result.columns == [
        ("category", pb.ColumnType.COLUMN_TYPE_STRING),
        ("items", pb.ColumnType.COLUMN_TYPE_INT64),
        ("mean", pb.ColumnType.COLUMN_TYPE_DOUBLE),
        ("none", pb.ColumnType.COLUMN_TYPE_UNSPECIFIED),
        ("bytes", pb.ColumnType.COLUMN_TYPE_BYTES),
    ]
    assert [row[0] for row in result.rows] == ["accessories", "ink", "paper", "pens"]
    assert [type(value) for value in result.rows[0]] == [str, int, float, type(None), bytes]
    assert (result.summary.row_count, result.summary.limit) == (4, pb.ResultLimit.RESULT_LIMIT_UNSPECIFIED)
    assert result.summary.elapsed.ToMicroseconds() > 0


@pytest.mark.parametrize(
    ("available", "max_rows", "sent", "truncated"),
    [(0, 0, 0, False), (1000, 0, 1000, False), (1001, 0, 1000, True), (10, 10, 10, False), (11, 10, 10, True),
     (6000, 6000, 5000, True)],
)  # fmt: skip
async def test_rows_are_limited(channel: Channel, available: int, max_rows: int, sent: int, truncated: bool) -> None:
    """By the request, its default, and the settings; the summary reports whether there were more."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {max(available, 1)})"
    result = await run_query(channel, f"{numbers} SELECT i FROM n WHERE i <= {available}", max_rows=max_rows)
    assert [row[0] for row in result.rows] == list(range(1, sent + 1))
    limit = pb.ResultLimit.RESULT_LIMIT_ROWS if truncated else pb.ResultLimit.RESULT_LIMIT_UNSPECIFIED
    assert (result.summary.row_count, result.summary.limit) == (sent, limit)


async def test_large_results_are_split_and_oversized_rows_refused(channel: Channel) -> None:
    """No message exceeds the size limit of gRPC."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)"
    result = await run_query(channel, f"{numbers} SELECT i, printf('%.*c', 200000, 'x') FROM n")
    assert result.parts.count("rows") > 20
    assert len(result.rows) == 40
    with pytest.raises(QueryFailed, match="select less"):
        await run_query(channel, "SELECT " + ", ".join(["printf('%.*c', 900000, 'x')"] * 3))
    with pytest.raises(QueryFailed, match="too big"):
        await run_query(channel, "SELECT replace(printf('%.*c', 900000, 'x'), 'x', 'yy')")


async def test_errors_name_the_rule_or_the_detail(channel: Channel) -> None:
    """In the metadata for programs, and in the message for users and models."""
    with pytest.raises(QueryRefused, match="DELETE") as refused:
        await run_query(channel, "DELETE FROM dim_customer")
    assert refused.value.data == {"rule": "read_only"}
    with pytest.raises(QueryFailed, match="totl") as failed:
        await run_query(channel, "SELECT totl FROM dim_customer")
    assert failed.value.data == {"detail": "no such column: totl"}


async def test_every_rule_is_in_the_contract() -> None:
    """Clients can distinguish every refusal by QueryRule."""
    assert {f"QUERY_RULE_{rule.upper()}" for rule in Rule} == set(pb.QueryRule.keys()) - {"QUERY_RULE_UNSPECIFIED"}


async def test_deadline_ends_the_query(channel: Channel, served: Served) -> None:
    """The database stops working on it, so the next call gets its turn soon."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await run_query(channel, ENDLESS, seconds=0.4)
    assert time.monotonic() - began < 20
    assert (await run_query(channel, "SELECT 1")).rows == [[1]]


async def test_cancelled_calls_end_their_queries(channel: Channel) -> None:
    """Twice as many as the service runs concurrently; the next query does not wait for them."""
    running = [asyncio.create_task(run_query(channel, ENDLESS)) for _ in range(16)]
    await asyncio.sleep(0.3)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert (await run_query(channel, "SELECT 1", seconds=60)).rows == [[1]]


async def test_abandoned_stream_ends_its_query(channel: Channel) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    for _ in range(10):
        async for part in channel.stream(
            pb.SqlService.RunQuery, pb.RunQueryRequest(query=endless), deadline=Deadline.after(60)
        ):
            if part.WhichOneof("part") == "rows":
                break
    assert (await run_query(channel, "SELECT 1", seconds=60)).rows == [[1]]


async def test_cached_result_says_its_age(channel: Channel, tmp_path: Path) -> None:
    """A hit is the same result; other data, another value or `refresh` run the query."""
    text = "SELECT name FROM dim_product WHERE product_id = $1"
    one, two = [pb.Parameter(int64_value=1)], [pb.Parameter(int64_value=2)]
    await wait_for_version(tmp_path / "sample.db")
    first = await run_query(channel, text, parameters=one)
    again = await run_query(channel, text, parameters=one)
    assert (first.summary.HasField("cache_age"), again.summary.HasField("cache_age")) == (False, True)
    assert (again.rows, again.columns, again.summary.row_count) == (first.rows, first.columns, 1)
    for other in (
        await run_query(channel, text, parameters=two),
        await run_query(channel, text, parameters=one, refresh=True),
        await run_query(channel, text, parameters=one, headers=[("x-graphmesh-tenant", "globex")]),
    ):
        assert not other.summary.HasField("cache_age")


async def test_estimate_does_not_run_the_query(channel: Channel) -> None:
    """And refuses what would be refused."""
    for query in ("SELECT * FROM fact_order_line", ENDLESS):
        request = pb.EstimateQueryRequest(query=query)
        response = await channel.unary(pb.SqlService.EstimateQuery, request, deadline=Deadline.after(60))
        assert response.estimate.cost > 0
        assert response.estimate.plan
    request = pb.EstimateQueryRequest(query="SELECT * FROM sqlite_master")
    with pytest.raises(QueryRefused):
        await channel.unary(pb.SqlService.EstimateQuery, request, deadline=Deadline.after(60))


ROLES = """
    default_role = "shop"
    [roles.shop.tables]
    dim_product = ["*"]
    [roles.analyst.tables]
    dim_product = ["*"]
    dim_customer = ["customer_id", "country"]
    [roles.finance.tables]
    monthly_revenue = ["*"]
"""


@pytest_asyncio.fixture
async def channel_of_roles(tmp_path: Path) -> AsyncIterator[Channel]:
    declarations = tmp_path / "warehouse.toml"
    declarations.write_text(ROLES)
    settings = Settings(sample=str(tmp_path / "sample.db"), declarations=str(declarations))
    async with build(settings) as servable, running(servable, settings) as server:
        yield server.channel


def scopes(*names: str) -> list[tuple[str, str]]:
    return [("x-graphmesh-scopes", " ".join(names))]


async def test_callers_read_what_their_role_may_read(channel_of_roles: Channel) -> None:
    """The role of the scopes, or the named one, or the default; never one of another caller."""
    countries, revenue, products = (
        "SELECT DISTINCT country FROM dim_customer",
        "SELECT count(*) FROM monthly_revenue",
        "SELECT count(*) FROM dim_product",
    )
    analyst, both = scopes("sql.read", "sql.role.analyst"), scopes("sql.read", "sql.role.analyst", "sql.role.finance")
    assert (await run_query(channel_of_roles, countries, headers=analyst)).rows
    assert (await run_query(channel_of_roles, revenue, headers=both, role="finance")).rows
    assert (await run_query(channel_of_roles, products, headers=scopes("sql.read"))).rows
    for query, headers, role, rule in (
        (revenue, analyst, "", "table"),
        (revenue, analyst, "finance", "role"),
        (countries, scopes("sql.read"), "", "table"),
        ("SELECT name FROM dim_customer", analyst, "", ""),
        ("SELECT * FROM dim_customer", analyst, "", "table"),
        (products, both, "nobody", "role"),
    ):
        with pytest.raises((QueryRefused, QueryFailed)) as refusal:
            await run_query(channel_of_roles, query, headers=headers, role=role)
        assert refusal.value.data.get("rule", "") == rule


async def test_schema_is_described_by_role(channel_of_roles: Channel) -> None:
    request = pb.DescribeSchemaRequest(role="analyst")
    response = await channel_of_roles.unary(pb.SqlService.DescribeSchema, request, deadline=Deadline.after(60))
    assert [table.name for table in response.tables] == ["dim_customer", "dim_product"]
    assert [column.name for column in response.tables[0].columns] == ["customer_id", "country"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[roles.x]", "roles.x"),
        ('default_role = "x"', "default_role"),
        ("[rules]", "rules"),
        ("[roles.x", "Expected"),
        ('[roles.x.tables]\na = "*"', "roles.x.tables.a"),
    ],
)
async def test_bad_declarations_are_refused_by_key(tmp_path: Path, text: str, part: str) -> None:
    declarations = tmp_path / "warehouse.toml"
    declarations.write_text(text)
    settings = Settings(sample=str(tmp_path / "sample.db"), declarations=str(declarations))
    with pytest.raises(BadSetting, match=part):
        async with build(settings):
            pass


async def test_describe_schema_requires_its_scope(channel: Channel) -> None:
    headers = [("x-graphmesh-scopes", "billing.read")]
    with pytest.raises(ScopeMissing):
        await channel.unary(
            pb.SqlService.DescribeSchema, pb.DescribeSchemaRequest(), deadline=Deadline.after(60), headers=headers
        )


@pytest.mark.parametrize(
    ("query", "max_rows", "field"),
    [("", 0, "query"), ("x" * 20_001, 0, "query"), ("SELECT '\0'", 0, "query"), ("SELECT 1", -1, "max_rows")],
)
async def test_invalid_request_names_the_field(channel: Channel, query: str, max_rows: int, field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await run_query(channel, query, max_rows)
    assert [violation.field for violation in refusal.value.violations] == [field]


def test_sample_is_reproducible(tmp_path: Path) -> None:
    """Generated twice, it is equal; an existing file is not overwritten; the amounts are consistent."""
    for name in ("a.db", "b.db"):
        make_sample(tmp_path / name)
    make_sample(tmp_path / "a.db")
    dumps = []
    for name in ("a.db", "b.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            dumps.append(list(connection.iterdump()))
            total, monthly = connection.execute(
                """SELECT (SELECT sum(amount_cents) FROM fact_order_line WHERE NOT returned),
                          (SELECT sum(revenue_cents) FROM monthly_revenue)"""
            ).fetchone()
            assert total == monthly > 0
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert dumps[0] == dumps[1]
    assert len(dumps[0]) > 800
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.db", "b.db"]


METRICS = """
    [datasets.sales]
    description = "order lines"
    from = "fact_order_line f JOIN dim_product p USING (product_id)"
    dimensions = { category = "p.category", month = "strftime('%Y-%m', f.order_date)" }
    metrics = { revenue = "sum(f.amount_cents)", lines = "count(*)" }
    [datasets.slow]
    from = "fact_order_line a, fact_order_line b, fact_order_line c, fact_order_line d"
    dimensions = { month = "a.order_date" }
    metrics = { revenue = "sum(a.amount_cents + b.line_number * c.line_number * d.line_number)" }
    [[datasets.slow.aggregates]]
    table = "monthly_revenue"
    dimensions = { month = "month" }
    metrics = { revenue = "sum(revenue_cents)" }
    [[rewrites]]
    query = "SELECT sum(a.quantity) FROM fact_order_line a, fact_order_line b, fact_order_line c, fact_order_line d"
    instead = "SELECT sum(items) FROM monthly_revenue"
    [[rewrites]]
    query = "SELECT length(printf('%.*c', 2000000000, 'x'))"
    instead = "SELECT 'instead'"
"""


@pytest_asyncio.fixture
async def channel_of_metrics(tmp_path: Path) -> AsyncIterator[Channel]:
    declarations = tmp_path / "warehouse.toml"
    declarations.write_text(METRICS)
    settings = Settings(sample=str(tmp_path / "sample.db"), declarations=str(declarations), max_steps=2_000_000)
    async with build(settings) as servable, running(servable, settings) as server:
        yield server.channel


async def query_metrics(channel: Channel, **fields: Any) -> tuple[pb.ResultColumns, list[list[object]]]:
    stream = channel.stream(pb.SqlService.QueryMetrics, pb.QueryMetricsRequest(**fields), deadline=Deadline.after(60))
    parts = [part async for part in stream]
    assert parts[-1].WhichOneof("part") == "summary"
    return parts[0].columns, [[_value(value) for value in row.values] for part in parts for row in part.rows.rows]


async def test_metrics_are_queried_by_name(channel_of_metrics: Channel) -> None:
    """The response has the SQL that was made."""
    pens = pb.MetricFilter(dimension="category", values=[pb.Parameter(string_value="pens")])
    columns, rows = await query_metrics(
        channel_of_metrics, dataset="sales", metrics=["revenue", "lines"], dimensions=["month"], filters=[pens]
    )
    assert [column.name for column in columns.columns] == ["month", "revenue", "lines"]
    assert columns.query.startswith("SELECT strftime")
    assert not columns.fallback
    own = await run_query(channel_of_metrics, columns.query, parameters=[pb.Parameter(string_value="pens")])
    assert own.rows == rows
    assert len(rows) == 6
    with pytest.raises(QueryRefused, match="there are: revenue, lines") as refused:
        await query_metrics(channel_of_metrics, dataset="sales", metrics=["profit"])
    assert refused.value.data == {"rule": "metric"}


async def test_datasets_are_described(channel_of_metrics: Channel) -> None:
    request = pb.DescribeMetricsRequest()
    response = await channel_of_metrics.unary(pb.SqlService.DescribeMetrics, request, deadline=Deadline.after(60))
    assert [(one.name, list(one.metrics), list(one.dimensions)) for one in response.datasets] == [
        ("sales", ["revenue", "lines"], ["category", "month"]), ("slow", ["revenue"], ["month"])
    ]  # fmt: skip


async def test_too_expensive_query_is_answered_from_a_pre_aggregated_table(channel_of_metrics: Channel) -> None:
    """And says so; a query without a declared one is refused."""
    columns, rows = await query_metrics(channel_of_metrics, dataset="slow", metrics=["revenue"], dimensions=["month"])
    assert (columns.fallback, "monthly_revenue" in columns.query, len(rows)) == (True, True, 6)
    tables = ", ".join(f"fact_order_line {name}" for name in "abcd")
    rewritten = await run_query(channel_of_metrics, f"SELECT sum(a.quantity)\n  FROM {tables};")
    expected = await run_query(channel_of_metrics, "SELECT sum(items) FROM monthly_revenue")
    assert rewritten.rows == expected.rows
    stuck = await run_query(channel_of_metrics, "SELECT length(printf('%.*c', 2000000000, 'x'))", seconds=12)
    assert stuck.rows == [["instead"]]  # it checks no limit: its process is killed after half of the time
    with pytest.raises(QueryRefused, match="too expensive"):
        await run_query(channel_of_metrics, f"SELECT max(a.quantity) FROM {tables}")
