"""The audit log is sealed in a chain, which shows every removed or changed row, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
import structlog
from graphmesh_chassis import audit_log
from graphmesh_chassis.audit_chain import FIRST_HASH, chain, digest
from graphmesh_chassis.audit_sealer import BATCH_ROWS, Sealer
from graphmesh_chassis.audit_verification import Verification, verify
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import ProviderUnavailable
from graphmesh_chassis.store import SqlStore
from graphmesh_local.readonly_database import connect_read_only
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.contract.chassis.test_effects import SqlTally, database, opened, url
from tests.contract.chassis.test_foreign import lose_response
from tests.contract.chassis.test_foreign_replicas import serve_replicas

__all__ = ["url"]


@pytest.fixture
async def stored(url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with the sealed rows of five effects, with the keys k1 to k5."""
    async with database(url, tmp_path) as stored:
        await cause_effects(stored, 1, 2, 3, 4, 5)
        await Sealer(stored).seal()
        yield stored


async def cause_effects(stored: Database, *numbers: int) -> None:
    async with opened(SqlStore(stored, SqlTally)) as server:
        for number in numbers:
            await server.add(number, f"k{number}")


def verification(url: str) -> Verification:
    with connect_read_only(url) as connection:
        return verify(connection)


def sync(url: str) -> str:
    return url.replace("+aiosqlite", "")


async def execute(stored: Database, statement: str) -> None:
    async with stored.transaction() as connection:
        await connection.exec_driver_sql(statement)


async def test_seals_rows_in_their_order_and_continues_the_chain(stored: Database, url: str) -> None:
    before = verification(url)
    assert (before.sealed, before.unsealed, before.broken) == (5, 0, "")
    await cause_effects(stored, 6, 7)
    assert verification(url).unsealed == 2
    await Sealer(stored).seal()
    after = verification(url)
    assert (after.sealed, after.unsealed, after.broken) == (7, 0, "")
    assert after.hash != before.hash
    async with stored.read() as connection:
        columns = audit_log.table.c
        rows = await connection.execute(sa.select(columns.number, columns.key).order_by(columns.number))
        assert [tuple(row) for row in rows] == [(number, f"k{number}") for number in range(1, 8)]


TAMPERINGS = [
    ("UPDATE audit_log SET subject = 'eve' WHERE number = 3", "row 3 (probe.Change of acme/eve at "),
    ("UPDATE audit_log SET tenant = 'other' WHERE number = 1", "row 1 (probe.Change of other/local at "),
    ("UPDATE audit_log SET epoch = 8 WHERE number = 5", "row 5 (probe.Change of acme/local at "),
    ("UPDATE audit_log SET approval = 'apr_1', run = 'run_1' WHERE number = 2", "row 2 (probe.Change of "),
    ("UPDATE audit_log SET key = 'k4' WHERE number = 3", "row 3 (probe.Change of "),
    ("UPDATE audit_log SET content = NULL WHERE number = 3", "row 3 (probe.Change of "),
    ("UPDATE audit_log SET hash = content WHERE number = 3", "row 3 (probe.Change of "),
    ("UPDATE audit_log SET number = 9 WHERE number = 3", "row 3 was removed"),
    ("UPDATE audit_log SET number = NULL, hash = NULL WHERE number = 3", "row 3 was removed"),
    ("UPDATE audit_log SET number = -1 WHERE number = 3", "row -1 was added"),
    ("DELETE FROM audit_log WHERE number = 1", "row 1 was removed"),
    ("DELETE FROM audit_log WHERE number IN (2, 3)", "row 2 was removed, with all up to row 3"),
    ("DELETE FROM audit_log WHERE number > 3", "row 4 was removed, with all up to row 5"),
    ("DELETE FROM audit_log", "row 1 was removed, with all up to row 5"),
    ("UPDATE audit_chain SET number = 4", "the end of the chain was changed"),
    ("DELETE FROM audit_chain", "the end of the chain, row 5 or a later one, was removed"),
    ("UPDATE effects SET response = fingerprint WHERE key = 'k3'", "the effect of row 3 (probe.Change of "),
    ("UPDATE effects SET result = 'STARTED' WHERE key = 'k3'", "the effect of row 3 (probe.Change of "),
    ("DELETE FROM effects WHERE key = 'k4'", "the effect of row 4 (probe.Change of "),
]
"""Statements, each with the beginning of the sentence that names the first broken row."""


async def test_names_the_first_broken_row(stored: Database, url: str) -> None:
    with sa.create_engine(sync(url), poolclass=sa.NullPool).connect() as connection:
        for statement, sentence in TAMPERINGS:
            connection.exec_driver_sql(statement)
            assert verify(connection).broken.startswith(sentence), statement
            connection.rollback()


async def test_an_anchor_shows_a_chain_that_was_computed_anew(stored: Database, url: str) -> None:
    """Whether a row was changed or the newest were removed; an anchor of an earlier row is enough."""
    with connect_read_only(url) as connection:
        columns = audit_log.table.c
        anchors = {row.number: row.hash.hex() for row in connection.execute(sa.select(columns.number, columns.hash))}
        assert verify(connection, anchors).broken == ""
    await execute(stored, "UPDATE audit_log SET subject = 'eve' WHERE number = 3")
    await execute(stored, "UPDATE audit_log SET number = NULL, hash = NULL")
    async with stored.transaction() as connection:
        await connection.execute(sa.update(chain).values(number=0, hash=FIRST_HASH))
    await Sealer(stored).seal()
    assert verification(url).broken == ""
    with connect_read_only(url) as reading:
        for number, sentence in (
            (5, "row 5 (probe.Change of acme/local at "),
            (3, "row 3 (probe.Change of acme/eve at "),
        ):
            broken = verify(reading, {number: anchors[number]}).broken
            assert (broken.startswith(sentence), "is not the one of the anchor" in broken) == (True, True)
        assert verify(reading, {2: anchors[2]}).broken == ""
        assert verify(reading, {7: anchors[5]}).broken.startswith("row 6 was removed, with all up to row 7: the anchor")


async def test_the_end_of_the_chain_is_logged(stored: Database, url: str) -> None:
    """Once a minute at most: not again for a row that is sealed a second later."""
    await cause_effects(stored, 6)
    with structlog.testing.capture_logs() as logged:
        sealing = asyncio.create_task(Sealer(stored).run())
        async with asyncio.timeout(60):
            while not logged:
                await asyncio.sleep(0.02)
            found = verification(url)
            async with stored.transaction() as connection:
                row = audit_log.new_row(datetime.now(UTC), tenant="acme")
                await connection.execute(sa.insert(audit_log.table), row)
            while verification(url).sealed < 7:
                await asyncio.sleep(0.02)
        sealing.cancel()
    assert [(line["event"], line["sealed"], line["hash"]) for line in logged] == [("audit log sealed", 6, found.hash)]


async def test_a_changed_row_stays_broken_after_more_is_sealed(stored: Database, url: str) -> None:
    """A row that was made unsealed is sealed again as a new one; its place stays empty."""
    await execute(stored, "UPDATE audit_log SET number = NULL, hash = NULL WHERE number = 3")
    await cause_effects(stored, 6)
    await Sealer(stored).seal()
    assert verification(url).broken == "row 3 was removed"


async def test_processes_that_share_a_database_seal_each_row_once(stored: Database, url: str) -> None:
    count = 2 * BATCH_ROWS + 50
    row = {"create_time": datetime.now(UTC), "epoch": None, "content": None, "calls": 1, "tenant": "acme"}
    row |= dict.fromkeys(("subject", "method", "result", "detail", "run", "thread", "node", "approval", "key"), "")
    async with stored.transaction() as connection:
        await connection.execute(sa.insert(audit_log.table), [row] * count)
    while verification(url).unsealed:
        await asyncio.gather(*(Sealer(stored).seal() for _ in range(4)))
    found = verification(url)
    assert (found.sealed, found.broken) == (count + 5, "")


class OvertakenDatabase:
    """A database in which `overtake` happens between the reads and the first write of its user."""

    def __init__(self, stored: Database, overtake: Callable[[], Awaitable[None]]) -> None:
        self._stored, self._overtake = stored, overtake
        self.read = stored.read

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        await self._overtake()
        async with self._stored.transaction() as connection:
            yield connection


async def test_a_process_that_was_overtaken_seals_nothing(stored: Database, url: str) -> None:
    """It has read one row; another process seals that and the next one before it writes."""

    async def overtake() -> None:
        await cause_effects(stored, 7)
        await Sealer(stored).seal()

    await cause_effects(stored, 6)
    await Sealer(cast(Database, OvertakenDatabase(stored, overtake))).seal()
    found = verification(url)
    assert (found.sealed, found.unsealed, found.broken) == (7, 0, "")


async def test_a_server_seals_what_a_dead_one_has_left(stored: Database, url: str) -> None:
    await cause_effects(stored, 6)
    sealing = asyncio.create_task(Sealer(stored).run())
    async with asyncio.timeout(60):
        while verification(url).unsealed:
            await asyncio.sleep(0.02)
    sealing.cancel()
    assert verification(url).sealed == 6


async def test_without_an_end_of_the_chain_nothing_is_sealed(stored: Database, url: str) -> None:
    """Sealing with numbers that begin anew would hide what was removed. The server itself continues."""
    await execute(stored, "DELETE FROM audit_chain")
    await cause_effects(stored, 6)
    await Sealer(stored).seal()
    assert verification(url).unsealed == 1


def test_the_canonical_form_is_the_same_for_each_database() -> None:
    """A time in any zone, and a column that a later version adds."""
    row = {"key": "k", "time": datetime(2026, 11, 30, 12, tzinfo=UTC), "content": b"1", "epoch": None, "calls": 1}
    assert digest(row) == digest({**row, "added": None, "number": 3, "hash": b"2"})
    assert digest(row) != digest({**row, "content": b"2"})
    assert digest(row).hex() == "944255b109c166f4b3b67c63c37d09925baae8b8a1e7964551f585b9c03a2148"


async def test_the_start_and_the_outcome_of_a_foreign_effect_are_rows(url: str, tmp_path: Path) -> None:
    """Both are sealed; the outcome does not break the row of the start."""
    async with serve_replicas(url, tmp_path) as replicas:
        replicas.one.provider.after = lose_response
        with pytest.raises(ProviderUnavailable):
            await replicas.one.add(5)
        await Sealer(replicas.database).seal()
        started = verification(url)
        await replicas.end_hold()
        await replicas.other.retried()
        await Sealer(replicas.database).seal()
        ended = verification(url)
    assert (started.sealed, started.broken, ended.sealed, ended.broken) == (1, "", 2, "")
