"""Keyset pages return the same rows as one query, in both directions, on SQLite and PostgreSQL alike."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, UtcDateTime, open_database
from graphmesh_chassis.keyset import keyset_page

table = sa.Table(
    "rows",
    sa.MetaData(),
    sa.Column("created", UtcDateTime, primary_key=True),
    sa.Column("row_id", sa.String(10), primary_key=True),
)
KEY = (table.c.created, table.c.row_id)
FIRST = datetime(2026, 5, 1, tzinfo=UTC)
ROWS = [(FIRST + timedelta(seconds=number // 3), f"row-{number}") for number in range(9)]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/any.db"


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url) as database:
        async with database.transaction() as connection:
            await connection.run_sync(table.metadata.create_all)
            await connection.execute(sa.insert(table), [dict(zip(table.c.keys(), row, strict=True)) for row in ROWS])
        yield database


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_return_each_row_once_in_order(database: Database, descending: bool) -> None:
    """Rows of one instant are split over pages by the second column."""
    found: list[tuple[datetime, str]] = []
    query = sa.select(table)
    while page := await database.rows(keyset_page(query, KEY, found[-1] if found else None, 2, descending=descending)):
        found += [(row.created, row.row_id) for row in page]
    assert found == sorted(ROWS, reverse=descending)


async def test_position_in_another_time_zone_is_the_same_position(database: Database) -> None:
    created, row_id = ROWS[2]
    position = (created.astimezone(timezone(timedelta(hours=5))), row_id)
    [row] = await database.rows(keyset_page(sa.select(table), KEY, position, 1))
    assert tuple(row) == ROWS[3]


async def test_insert_takes_an_on_conflict_clause(database: Database) -> None:
    created, row_id = ROWS[0]
    row = {"created": created, "row_id": row_id}
    async with database.transaction() as connection:
        ignored = database.insert(table).values(row).on_conflict_do_nothing().returning(table.c.row_id)
        assert (await connection.execute(ignored)).all() == []
        upsert = database.insert(table).values(row)
        upsert = upsert.on_conflict_do_update(index_elements=list(KEY), set_={"row_id": "replaced"})
        await connection.execute(upsert)
    rows = await database.rows(keyset_page(sa.select(table), KEY, None, 3))
    assert "replaced" in [row.row_id for row in rows]


def test_position_needs_a_value_for_each_column() -> None:
    with pytest.raises(ValueError):
        keyset_page(sa.select(table), KEY, (FIRST,), 1)
