"""sql as a caller meets it: a real server with every hook, over the sample warehouse."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh.sql import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import DeadlineExceeded, InvalidRequest, ScopeMissing
from graphmesh_chassis.testing import Served, running
from graphmesh_sql.__main__ import build
from graphmesh_sql.errors import QueryFailed, QueryRefused
from graphmesh_sql.sample import make_sample
from graphmesh_sql.settings import Settings

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
class Answer:
    columns: list[tuple[str, pb.ColumnType.ValueType]]
    rows: list[list[object]]
    summary: pb.ResultSummary
    parts: list[str | None]


async def ask(channel: Channel, query: str, max_rows: int = 0, seconds: float = 20.0) -> Answer:
    request = pb.RunQueryRequest(query=query, max_rows=max_rows)
    parts = [part async for part in channel.stream(pb.SqlService.RunQuery, request, timeout=seconds)]
    return Answer(
        columns=[(column.name, column.type) for column in parts[0].columns.columns],
        rows=[[_value(value) for value in row.values] for part in parts for row in part.rows.rows],
        summary=parts[-1].summary,
        parts=[part.WhichOneof("part") for part in parts],
    )


def _value(value: pb.Value) -> object:
    kind = value.WhichOneof("kind")
    return None if kind in (None, "null_value") else getattr(value, kind)


async def test_the_schema_is_described_for_programs_and_for_prompts(channel: Channel) -> None:
    response = await channel.unary(pb.SqlService.DescribeSchema, pb.DescribeSchemaRequest(), timeout=5)
    assert [table.name for table in response.tables] == [
        "dim_customer", "dim_product", "fact_order_line", "monthly_revenue"
    ]  # fmt: skip
    assert response.dialect == pb.Dialect.DIALECT_SQLITE
    assert len(response.prompt_text.splitlines()) == 4
    one = pb.DescribeSchemaRequest(tables=["dim_product", "nowhere"])
    response = await channel.unary(pb.SqlService.DescribeSchema, one, timeout=5)
    assert [table.name for table in response.tables] == ["dim_product"]


async def test_a_question_is_answered_with_columns_rows_and_a_summary(channel: Channel) -> None:
    """In this order, with every value of its own type."""
    answer = await ask(
        channel,
        """SELECT p.category, sum(f.quantity) AS items, avg(f.amount_cents) AS mean, NULL AS none, x'00ff' AS bytes
        FROM fact_order_line f JOIN dim_product p USING (product_id) GROUP BY 1 ORDER BY 1""",
    )
    assert answer.parts == ["columns", "rows", "summary"]
    assert answer.columns == [
        ("category", pb.ColumnType.COLUMN_TYPE_STRING),
        ("items", pb.ColumnType.COLUMN_TYPE_INT64),
        ("mean", pb.ColumnType.COLUMN_TYPE_DOUBLE),
        ("none", pb.ColumnType.COLUMN_TYPE_UNSPECIFIED),
        ("bytes", pb.ColumnType.COLUMN_TYPE_BYTES),
    ]
    assert [row[0] for row in answer.rows] == ["accessories", "ink", "paper", "pens"]
    assert [type(value) for value in answer.rows[0]] == [str, int, float, type(None), bytes]
    assert (answer.summary.row_count, answer.summary.truncated) == (4, False)
    assert answer.summary.elapsed.ToMicroseconds() > 0


@pytest.mark.parametrize(
    ("there", "asked", "sent", "truncated"),
    [(0, 0, 0, False), (1000, 0, 1000, False), (1001, 0, 1000, True), (10, 10, 10, False), (11, 10, 10, True),
     (6000, 6000, 5000, True)],
)  # fmt: skip
async def test_rows_are_capped(channel: Channel, there: int, asked: int, sent: int, truncated: bool) -> None:
    """By the request, by its default, by the deployment; the summary says whether there were more."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {max(there, 1)})"
    answer = await ask(channel, f"{numbers} SELECT i FROM n WHERE i <= {there}", max_rows=asked)
    assert [row[0] for row in answer.rows] == list(range(1, sent + 1))
    assert (answer.summary.row_count, answer.summary.truncated) == (sent, truncated)


async def test_large_rows_go_in_small_messages_and_too_large_ones_not_at_all(channel: Channel) -> None:
    """No result can exceed what a message may be."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)"
    answer = await ask(channel, f"{numbers} SELECT i, printf('%.*c', 200000, 'x') FROM n")
    assert answer.parts.count("rows") > 20
    assert len(answer.rows) == 40
    with pytest.raises(QueryFailed, match="select less"):
        await ask(channel, "SELECT " + ", ".join(["printf('%.*c', 900000, 'x')"] * 6))
    with pytest.raises(QueryFailed, match="too big"):
        await ask(channel, "SELECT replace(printf('%.*c', 900000, 'x'), 'x', 'yy')")


async def test_a_refusal_names_the_rule_and_a_failure_the_detail(channel: Channel) -> None:
    """In the metadata, for programs; in the message, for people and models."""
    with pytest.raises(QueryRefused, match="DELETE") as refused:
        await ask(channel, "DELETE FROM dim_customer")
    assert refused.value.data == {"rule": "read_only"}
    with pytest.raises(QueryFailed, match="totl") as failed:
        await ask(channel, "SELECT totl FROM dim_customer")
    assert failed.value.data == {"detail": "no such column: totl"}


async def test_every_rule_is_in_the_contract() -> None:
    """A client that switches over QueryRule knows every refusal."""
    from graphmesh_sql.domain import Rule

    assert {f"QUERY_RULE_{rule.upper()}" for rule in Rule} == set(pb.QueryRule.keys()) - {"QUERY_RULE_UNSPECIFIED"}


async def test_the_deadline_of_the_call_ends_the_query(channel: Channel, served: Served) -> None:
    """And its place is free again soon: the database does not work on for nobody (D7)."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await ask(channel, ENDLESS, seconds=0.4)
    assert time.monotonic() - began < 20
    assert (await ask(channel, "SELECT 1")).rows == [[1]]


async def test_callers_who_leave_take_their_queries_with_them(channel: Channel) -> None:
    """Twice as many as the service works on at a time; the next one does not wait for them."""
    asking = [asyncio.create_task(ask(channel, ENDLESS)) for _ in range(16)]
    await asyncio.sleep(0.3)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert (await ask(channel, "SELECT 1", seconds=5)).rows == [[1]]


async def test_a_stream_that_is_left_early_ends(channel: Channel) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    for _ in range(10):
        async for part in channel.stream(pb.SqlService.RunQuery, pb.RunQueryRequest(query=endless), timeout=20):
            if part.WhichOneof("part") == "rows":
                break
    assert (await ask(channel, "SELECT 1", seconds=5)).rows == [[1]]


async def test_scopes_are_asked_for(channel: Channel) -> None:
    headers = [("x-graphmesh-scopes", "billing.read")]
    with pytest.raises(ScopeMissing):
        await channel.unary(pb.SqlService.DescribeSchema, pb.DescribeSchemaRequest(), timeout=5, headers=headers)


@pytest.mark.parametrize(
    ("query", "max_rows", "field"),
    [("", 0, "query"), ("x" * 20_001, 0, "query"), ("SELECT '\0'", 0, "query"), ("SELECT 1", -1, "max_rows")],
)
async def test_bad_requests_are_refused_by_field(channel: Channel, query: str, max_rows: int, field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await ask(channel, query, max_rows)
    assert [violation.field for violation in refusal.value.violations] == [field]


def test_the_sample_is_the_same_every_time(tmp_path: Path) -> None:
    """Made twice, it is equal; a file that is there is left alone; its money adds up."""
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
