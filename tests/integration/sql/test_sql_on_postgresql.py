"""sql over a PostgreSQL target, in worker processes with their limits."""

from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
from graphmesh.sql import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DeadlineExceeded
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import running
from graphmesh_sql.__main__ import build
from graphmesh_sql.errors import QueryFailed, QueryRefused
from graphmesh_sql.settings import Settings
from structlog.testing import capture_logs

from tests.contract.sql.targets import postgres_target

MIB = 1024 * 1024
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM n) SELECT max(i) FROM n"


@pytest_asyncio.fixture
async def channel(postgres_url: str) -> AsyncIterator[Channel]:
    target = postgres_target(postgres_url)
    role = target.settings.target.partition("://")[2].partition(":")[0]
    with psycopg.connect(target.address, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role} RESET temp_file_limit".encode())
    settings = Settings(target_url=SecretUrl(target.settings.target), backend_memory=64 * MIB)
    with capture_logs() as logs:
        async with build(settings) as servable, running(servable, settings) as server:
            await servable.pings["target"]()
            yield server.channel
    assert [entry["cause"][:15] for entry in logs if "cannot be enforced" in entry["event"]] == ["temporary space"]


async def rows_of(channel: Channel, query: str, seconds: float = 60.0) -> list[str]:
    request, deadline = pb.RunQueryRequest(query=query), Deadline.after(seconds)
    parts = channel.stream(pb.SqlService.RunQuery, request, deadline=deadline)
    return [row.values[0].string_value async for part in parts for row in part.rows.rows]


async def test_queries_of_a_worker_end_at_their_limits(channel: Channel) -> None:
    """Its process serves the next one, and a limit that cannot be enforced has been logged once."""
    assert await rows_of(channel, "SELECT lpad(label, id + 3, '.') FROM item ORDER BY id") == [
        ".pen",
        "..ink",
        "...pad",
    ]
    with pytest.raises(QueryFailed, match="memory"):
        await rows_of(channel, "SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1, 600000)")
    with pytest.raises(QueryRefused):
        await rows_of(channel, "SELECT repeat('a', 900000000)")
    with pytest.raises(DeadlineExceeded):
        await rows_of(
            channel, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM n) SELECT max(i) FROM n", 1.0
        )
    assert await rows_of(channel, "SELECT name FROM customer WHERE id = 1") == ["Ada"]
