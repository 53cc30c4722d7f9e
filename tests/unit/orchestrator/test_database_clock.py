"""The database's clock as a process knows it."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from graphmesh_orchestrator.db.database_clock import DatabaseClock
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.contract.runs import a_run

NOON = 1_700_000_000.0
HOUR = 3600.0


class FakeDatabase:
    """A database, and the monotonic clock of a process that reads its clock."""

    def __init__(self) -> None:
        self.time, self.monotonic = NOON, 0.0
        self.round_trip = 0.0
        self.clock = DatabaseClock(cast(Database, None), lambda: self.monotonic)

    def pass_time(self, seconds: float) -> None:
        self.time, self.monotonic = self.time + seconds, self.monotonic + seconds

    async def execute(self, _: object) -> Any:
        self.pass_time(self.round_trip / 2)
        read = self.time
        self.pass_time(self.round_trip / 2)
        return SimpleNamespace(scalar_one=lambda: read)

    async def read(self) -> None:
        await self.clock.read(cast(AsyncConnection, self))


@pytest.fixture
async def database() -> FakeDatabase:
    """A database whose clock has been read once."""
    database = FakeDatabase()
    await database.read()
    return database


def seconds(moment: datetime) -> float:
    return (moment - datetime.fromtimestamp(NOON, UTC)).total_seconds()


async def test_time_is_that_of_the_database_between_two_readings(database: FakeDatabase) -> None:
    database.pass_time(1.5)
    assert seconds(database.clock.now()) == pytest.approx(1.5)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_clock_is_steady_the_length_of_a_lease_after_a_jump(database: FakeDatabase, jump: float) -> None:
    database.time += jump
    await database.read()
    assert not database.clock.is_steady
    assert seconds(database.clock.now()) == pytest.approx(jump)
    database.pass_time(LEASE_SECONDS)
    await database.read()
    is_steady = database.clock.is_steady
    assert is_steady


async def test_slow_reading_is_no_jump(database: FakeDatabase) -> None:
    """A process that is paused during a reading knows the time no better than before."""
    database.round_trip = 60.0
    await database.read()
    assert database.clock.is_steady
    assert seconds(database.clock.now()) == pytest.approx(60, abs=0.1)


async def test_drift_is_no_jump(database: FakeDatabase) -> None:
    """NTP lets a clock run up to 0.05 % faster or slower."""
    for _ in range(100):
        database.pass_time(60)
        database.time += 60 * 0.0005
        await database.read()
        assert database.clock.is_steady


def test_time_left_of_a_run_is_bounded_wherever_the_clock_jumps() -> None:
    created = datetime(2026, 11, 30, 12, tzinfo=UTC)
    run = a_run(created=created, deadline=created + timedelta(minutes=10))
    times = {-2 * HOUR: 600.0, 0: 600.0, 60: 540.0, 2 * HOUR: 0.0}
    assert {at: run.seconds_left(created + timedelta(seconds=at)) for at in times} == times
