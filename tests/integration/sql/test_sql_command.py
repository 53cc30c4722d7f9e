"""`graphmesh sql` against a service: rows, parameters, notes, errors and exit codes."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_chassis.testing import running
from graphmesh_cli.app import app
from graphmesh_sql.__main__ import build
from graphmesh_sql.settings import Settings
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from tests.integration.sql.sample_version import wait_for_version


@pytest_asyncio.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    settings = Settings(sample=str(tmp_path / "sample.db"))
    with capture_logs():  # else they would be in the output of the command
        async with build(settings) as servable, running(servable, settings) as server:
            yield server.address


async def command(address: str, *words: str, stdin: str = "") -> Result:
    """Run the command in a thread: the service runs in this one."""
    arguments = ["sql", *words, "--address", address]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments, stdin))


async def test_rows_are_printed_as_a_table_or_as_json(address: str, tmp_path: Path) -> None:
    query = "SELECT product_id, name, NULL AS note FROM dim_product WHERE product_id < $1 ORDER BY 1"
    table = await command(address, query, "-p", "3")
    assert table.exit_code == 0
    assert [line.split()[:2] for line in table.stdout.splitlines()] == [
        ["product_id", "name"], ["1", "Heron"], ["2", "Heron"]
    ]  # fmt: skip
    assert table.stderr.startswith("2 rows; ")
    (tmp_path / "query.sql").write_text(query)
    for words, stdin in (([query], ""), ([f"@{tmp_path}/query.sql"], ""), (["-"], query)):
        lines = (await command(address, *words, "--parameter", "3", "--json", stdin=stdin)).stdout.splitlines()
        assert [json.loads(line)["product_id"] for line in lines] == [1, 2]
        assert list(json.loads(lines[0])) == ["product_id", "name", "note"]


async def test_notes_report_limits_and_the_cache(address: str, tmp_path: Path) -> None:
    await wait_for_version(tmp_path / "sample.db")
    query = "SELECT order_id, order_id FROM fact_order_line"
    first, again = [await command(address, query, "--max-rows", "2") for _ in range(2)]
    assert "cut off at the maximum of rows" in first.stderr
    assert ("cached" in first.stderr, "cached" in again.stderr) == (False, True)
    assert "expected cost" in first.stderr
    assert first.stdout.split()[:2] == ["order_id", "order_id_2"]
    assert "cached" not in (await command(address, query, "--max-rows", "2", "--refresh")).stderr


async def test_without_a_query_the_tables_are_described(address: str) -> None:
    shown = await command(address, "--json")
    assert [json.loads(line)["name"] for line in shown.stdout.splitlines()] == [
        *("dim_customer", "dim_product", "fact_order_line", "monthly_revenue")
    ]


async def test_estimate_plans_only(address: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    shown = await command(address, endless, "--estimate", "--json")
    assert json.loads(shown.stdout)["cost"] > 0


@pytest.mark.parametrize(
    ("words", "exit_code", "part"),
    [
        (["DELETE FROM dim_product"], 1, "QUERY_REFUSED"),
        (["SELECT totl FROM dim_product"], 1, "no such column: totl"),
        (["SELECT $1"], 1, "parameter"),
        (["SELECT 1", "--role", "nobody"], 1, "role"),
        (["SELECT printf('%.*c', 2000000000, 'x')", "--timeout", "1s"], 4, "DEADLINE_EXCEEDED"),
        (["@nowhere.sql"], 2, "nowhere.sql"),
        (["--estimate"], 2, "--estimate"),
        (["SELECT 1", "--timeout", "soon"], 2, "soon"),
    ],
    ids=str,
)
async def test_errors_have_a_reason_and_an_exit_code(address: str, words: list[str], exit_code: int, part: str) -> None:
    shown = await command(address, *words)
    assert (shown.exit_code, shown.stdout) == (exit_code, "")
    assert part in shown.stderr
