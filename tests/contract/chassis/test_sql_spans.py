"""Statements of SQLite and of PostgreSQL are spans, where what executes them is traced."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.sql_spans import summary
from sqlalchemy import literal_column, select, table
from sqlalchemy.exc import DBAPIError

from tests.recorded_spans import RUN, UNSAMPLED, parent_of, recorded


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/any.db"


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url) as opened:
        yield opened


async def test_statements_are_spans_without_values(database: Database) -> None:
    """They have operation and tables, also where they fail, and are below the present span."""
    with recorded() as every:
        for run in (RUN, UNSAMPLED):
            with spans.joined(run):
                await database.rows(select(literal_column("'4111'")))
                with pytest.raises(DBAPIError):
                    await database.rows(select(literal_column("'4111'")).select_from(table("nowhere")))
    found = [span for span in every if span.name.startswith("SELECT")]
    assert [(span.name, span.status.is_ok) for span in found] == [("SELECT", True), ("SELECT nowhere", False)]
    for span in found:
        assert (span.attributes or {})[names.DB_SYSTEM] == ("sqlite" if database.is_sqlite else "postgresql")
        assert parent_of(span) == RUN[36:52]
        assert "4111" not in str(span.to_json())


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT a FROM x JOIN y USING (z) WHERE a = 'FROM secret'", "SELECT x y"),
        ("insert into effects (tenant) values ('4111')", "INSERT effects"),
        ("UPDATE runs SET status = 1", "UPDATE runs"),
        ("BEGIN", "BEGIN"),
        ("", ""),
        ("SELECT 'it''s FROM secret' || 'FROM unterminated", "SELECT"),
        ("SELECT " + "FROM t " * 100_000, "SELECT t"),
    ],
)
def test_summaries(statement: str, expected: str) -> None:
    assert summary(statement).split() == expected.split()
