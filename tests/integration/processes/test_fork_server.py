"""Programs that the fork server starts: they behave as processes that are started by exec."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from graphmesh_local.child_process import Child, Program
from graphmesh_local.fork_client import ForkServerGone, fork_spawner
from graphmesh_local.spawning import Spawner

PROGRAM = """
import json, os, sys, time

IMPORTED_BY = os.getpid()

def main():
    report = {"pid": os.getpid(), "group": os.getpgid(0), "folder": os.getcwd(), "argv": sys.argv[1:]}
    print(json.dumps({**report, "imported_by": IMPORTED_BY, "environment": dict(os.environ)}), flush=True)
    if len(sys.argv) > 1:
        sys.exit(sys.argv[1])
    time.sleep(600)
"""
THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from graphmesh_local.fork_client import fork_spawner
from graphmesh_local.child_process import Child, Program

async def main():
    async with fork_spawner(["sleeper"]) as spawn:
        child = Child(Program("it", [sys.executable, "-m", "sleeper"], Path(sys.argv[1])), spawn)
        await child.start()
        print(child.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two Python programs on PYTHONPATH."""
    for name, code in (("sleeper", PROGRAM), ("threaded", THREADED)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
async def spawn() -> AsyncIterator[Spawner]:
    async with fork_spawner(["sleeper"]) as spawn:
        yield spawn


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "it.log"


def sleeper(log: Path, *arguments: str, **options: object) -> Program:
    return Program("it", [sys.executable, "-m", "sleeper", *arguments], log, **options)  # type: ignore[arg-type]


async def report_of(child: Child) -> dict[str, object]:
    """Wait for the report that a sleeper prints about itself."""
    async with asyncio.timeout(60):
        while not (output := child.output()).endswith("\n"):
            await asyncio.sleep(0.01)
    return dict(json.loads(output))


async def test_a_fork_has_its_own_group_folder_and_environment(spawn: Spawner, log: Path, tmp_path: Path) -> None:
    """Though the fork server has imported its program."""
    child = Child(sleeper(log, env={"COLOUR": "green"}, folder=tmp_path), spawn)
    await child.start()
    report = await report_of(child)
    assert report["pid"] == report["group"] == child.pid
    assert report["folder"] == str(tmp_path)
    assert report["environment"] == {**os.environ, "COLOUR": "green"}
    assert report["imported_by"] == psutil.Process(child.pid).ppid() != os.getpid()
    await child.stop()


async def test_each_start_is_a_new_process(spawn: Spawner, log: Path) -> None:
    """A death is reported with its signal."""
    child, pids = Child(sleeper(log), spawn), set()
    for _ in range(20):
        await child.start()
        os.kill(child.pid, signal.SIGKILL)
        death = await child.wait()
        pids.add(death.pid)
        assert "was killed by SIGKILL" in str(death)
    assert len(pids) == 20


async def test_an_exit_is_reported_with_code_and_last_lines(spawn: Spawner, log: Path) -> None:
    """The program gets its arguments."""
    child = Child(sleeper(log, "out of ink"), spawn)
    await child.start()
    death = await child.wait()
    assert (death.returncode, death.last_lines[-1]) == (1, "out of ink")


async def test_other_programs_are_executed(spawn: Spawner, log: Path) -> None:
    child = Child(Program("it", [sys.executable, "-c", "import os; print(os.getppid())"], log), spawn)
    await child.start()
    assert (await child.wait()).last_lines == [str(os.getpid())]


async def test_programs_die_with_the_fork_server(spawn: Spawner, log: Path) -> None:
    """And no other program can be started."""
    child = Child(sleeper(log), spawn)
    await child.start()
    await report_of(child)
    server = psutil.Process(child.pid).parent()
    assert server
    server.kill()
    assert (await child.wait()).returncode == -signal.SIGKILL
    with pytest.raises(ForkServerGone):
        await child.start()


async def test_programs_end_with_the_context(log: Path) -> None:
    async with fork_spawner(["sleeper"]) as spawn:
        child = Child(sleeper(log), spawn)
        await child.start()
    assert psutil.wait_procs([psutil.Process(child.pid)] if psutil.pid_exists(child.pid) else [], timeout=60)[1] == []


async def test_threads_are_refused(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A fork copies the locks of other threads, but not the threads that would release them."""
    async with fork_spawner(["threaded"]) as spawn:
        with pytest.raises(ForkServerGone):
            await Child(Program("it", [sys.executable, "-m", "threaded"], log), spawn).start()
    assert "cannot fork: threaded have started 1 threads" in capfd.readouterr().err


def test_fork_server_and_programs_die_with_their_parent(log: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log)], stdout=subprocess.PIPE)
    try:
        sleeping = psutil.Process(int(parent.stdout.readline() if parent.stdout else b""))
        processes = [sleeping, *sleeping.parents()[:1]]
    finally:
        parent.kill()
        parent.communicate()
    assert psutil.wait_procs(processes, timeout=60)[1] == []
