"""A connection pooler in transaction mode is refused at the start, with the setting to change."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from graphmesh_billing.__main__ import MIGRATIONS
from graphmesh_chassis.database import SharedSessions, open_database
from sqlalchemy.engine import make_url

from tests.contract.chassis.pgbouncer import pgbouncer
from tests.contract.chassis.transaction_pooler import transaction_pooler


async def test_a_pooler_in_transaction_mode_is_refused(postgres_url: str) -> None:
    url = make_url(postgres_url)
    async with transaction_pooler(url.host or "", url.port or 0) as port:
        pooled = url.set(port=port).render_as_string(hide_password=False)
        async with open_database(pooled) as database, database.read() as connection:
            assert await connection.scalar(sa.text("SELECT 1")) == 1
        with pytest.raises(SharedSessions, match="pool_mode = session"):
            async with open_database(pooled, MIGRATIONS):
                pass


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_pgbouncer_that_shares_sessions_is_refused(postgres_url: str, mode: str) -> None:
    async with pgbouncer(make_url(postgres_url), mode) as pooled:
        with pytest.raises(SharedSessions, match="pool_mode = session"):
            async with open_database(pooled, MIGRATIONS):
                pass


async def test_pgbouncer_in_session_mode_is_accepted(postgres_url: str) -> None:
    async with pgbouncer(make_url(postgres_url), "session") as pooled, open_database(pooled, MIGRATIONS) as database:
        for _ in range(3):
            async with database.transaction() as connection:
                assert await connection.scalar(sa.text("SELECT 1")) == 1


async def test_a_server_names_the_setting_that_leads_to_a_pooler(postgres_url: str, tmp_path: Path) -> None:
    """It exits with the code of bad settings, instead of failing later with errors of prepared statements."""
    url = make_url(postgres_url)
    async with transaction_pooler(url.host or "", url.port or 0) as port:
        pooled = url.set(port=port).render_as_string(hide_password=False)
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "graphmesh_billing"),
            env={**os.environ, "GRAPHMESH_BILLING_DATABASE_URL": pooled},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(server.communicate(), 60)
    assert server.returncode == 2
    assert "GRAPHMESH_BILLING_DATABASE_URL" in errors.decode()
    assert "pool_mode = session" in errors.decode()


async def test_postgresql_itself_is_accepted(postgres_url: str) -> None:
    async with open_database(postgres_url, MIGRATIONS) as database:
        await database.ping()
