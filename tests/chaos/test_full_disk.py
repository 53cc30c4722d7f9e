"""The disk of the databases is full for some seconds while runs execute."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from graphmesh_chaos.environment_schedule import disk_schedule
from graphmesh_chaos.experiment import MeshOptions, run_experiment
from graphmesh_chaos.schedule import FaultKind
from graphmesh_chaos.small_disk import POSTGRES_BYTES, DiskUnavailable, small_disk, temporary_disk
from graphmesh_local.databases import shared_servers
from graphmesh_local.spawning import Spawner

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

RUNS = 12
SQLITE_BYTES = 24 * 1024**2


@contextmanager
def skip_without_disk() -> Iterator[None]:
    try:
        yield
    except DiskUnavailable as reason:
        pytest.skip(str(reason))


def refusals(logs: Path) -> int:
    """Failures of statements for which the disk had no room."""
    texts = [log.read_text() for log in logs.glob("*.log")]
    return sum(text.count("disk is full") + text.count("errors.DiskFull") for text in texts)


async def test_full_disk_refuses_writes(tmp_path: Path) -> None:
    with skip_without_disk(), small_disk(tmp_path / "disk", 1024**2) as disk:
        with disk.filled(), pytest.raises(OSError, match="No space left"):
            (disk.folder / "file").write_bytes(bytes(1))
        (disk.folder / "file").write_bytes(bytes(1024))


async def test_sqlite_resumes_when_there_is_space_again(tmp_path: Path, spawn: Spawner) -> None:
    """Clients get UNAVAILABLE and repeat their requests; runs in progress wait."""
    schedule = disk_schedule(51, runs=RUNS, seconds=4, faults=2)
    assert FaultKind.FULL_DISK in {fault.kind for fault in schedule.faults}
    with skip_without_disk(), small_disk(tmp_path / "databases", SQLITE_BYTES) as disk:
        result = await run_experiment(schedule, tmp_path, MeshOptions(spawn=spawn, disk=disk))
    assert result.violations == []
    assert len(result.history.tickets) == RUNS
    assert refusals(tmp_path / "logs")


async def test_postgresql_resumes_when_there_is_space_again(tmp_path: Path, spawn: Spawner) -> None:
    """Its tables cannot grow, and its log, whose segments are allocated before, still can be written."""
    schedule = disk_schedule(51, runs=RUNS, seconds=4, faults=2, orchestrators=2)
    assert FaultKind.FULL_DISK in {fault.kind for fault in schedule.faults}
    with skip_without_disk(), temporary_disk(POSTGRES_BYTES) as disk:
        async with shared_servers(disk.folder) as shared:
            options = MeshOptions(2, shared, spawn=spawn, disk=disk)
            result = await run_experiment(schedule, tmp_path, options)
    assert result.violations == []
    assert len(result.history.tickets) == RUNS
    assert refusals(tmp_path / "logs")
