"""The orchestrator on AsyncPostgresSaver, LangGraph's official checkpointer for PostgreSQL.

Its checkpoints are not fenced and share no transaction with the run's events: it exists to be measured.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from graphmesh_chassis.serve import run
from graphmesh_chassis.settings import reveal
from graphmesh_orchestrator.__main__ import build
from graphmesh_orchestrator.backend import Backend, open_backend
from graphmesh_orchestrator.settings import Settings
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

POOL_SIZE = 10
SCHEMA = "official"
"""The schema of its tables, whose names the orchestrator's own tables have too."""


def _pool(url: str, size: int) -> AsyncConnectionPool[AsyncConnection[DictRow]]:
    """Connections with the options that the checkpointer's documentation requires."""
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    plain, schema = url.replace("+psycopg", ""), {"options": f"-c search_path={SCHEMA}"}
    return AsyncConnectionPool(plain, min_size=1, max_size=size, kwargs={**options, **schema}, open=False)


@asynccontextmanager
async def postgres_saver(url: str) -> AsyncIterator[AsyncPostgresSaver]:
    """The checkpointer over a pool, as its documentation sets it up for servers. `create_tables` comes first."""
    async with _pool(url, POOL_SIZE) as pool:
        yield AsyncPostgresSaver(pool)


async def create_tables(url: str) -> None:
    async with _pool(url, 1) as pool:
        async with pool.connection() as connection:
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        await AsyncPostgresSaver(pool).setup()


@asynccontextmanager
async def open_with_postgres_saver(settings: Settings, worker: str) -> AsyncIterator[Backend]:
    """Open the orchestrator's stores with the checkpointer in place of its own."""
    await create_tables(reveal(settings.database_url))
    async with open_backend(settings, worker) as backend, postgres_saver(reveal(settings.database_url)) as saver:
        yield replace(backend, saver=saver)


if __name__ == "__main__":
    run("orchestrator", partial(build, open_backend=open_with_postgres_saver), Settings)
