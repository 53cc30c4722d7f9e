"""Programs as forks of a process that has imported them: to whoever starts them, processes like all others."""

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
from graphmesh_local.fork_client import NoForker, forking
from graphmesh_local.spawning import Spawn

PROGRAM = """
import json, os, sys, time

IMPORTED_BY = os.getpid()

def main():
    told = {"pid": os.getpid(), "group": os.getpgid(0), "folder": os.getcwd(), "argv": sys.argv[1:]}
    print(json.dumps({**told, "imported_by": IMPORTED_BY, "environment": dict(os.environ)}), flush=True)
    if len(sys.argv) > 1:
        sys.exit(sys.argv[1])
    time.sleep(60)
"""
THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from graphmesh_local.fork_client import forking
from graphmesh_local.child_process import Child, Program

async def main():
    async with forking(["sleeper"]) as spawn:
        child = Child(Program("it", [sys.executable, "-m", "sleeper"], Path(sys.argv[1])), spawn)
        await child.start()
        print(child.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs of Python."""
    for name, code in (("sleeper", PROGRAM), ("threaded", THREADED)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    async with forking(["sleeper"]) as spawn:
        yield spawn


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "it.log"


def sleeper(log: Path, *arguments: str, **options: object) -> Program:
    return Program("it", [sys.executable, "-m", "sleeper", *arguments], log, **options)  # type: ignore[arg-type]


async def told(child: Child) -> dict[str, object]:
    """What a sleeper says of itself."""
    async with asyncio.timeout(10):
        while not (said := child.written()).endswith("\n"):
            await asyncio.sleep(0.01)
    return dict(json.loads(said))


async def test_a_fork_is_a_process_of_its_own(spawn: Spawn, log: Path, tmp_path: Path) -> None:
    """With a group, a folder, an environment and a log like any other, though it was imported elsewhere."""
    child = Child(sleeper(log, env={"COLOUR": "green"}, folder=tmp_path), spawn)
    await child.start()
    said = await told(child)
    assert said["pid"] == said["group"] == child.pid
    assert said["folder"] == str(tmp_path)
    assert said["environment"] == {**os.environ, "COLOUR": "green"}
    assert said["imported_by"] == psutil.Process(child.pid).ppid() != os.getpid()
    await child.stop()


async def test_each_start_is_another_process(spawn: Spawn, log: Path) -> None:
    """Killed and started again, as often as one likes; the death is told with its signal."""
    child, pids = Child(sleeper(log), spawn), set()
    for _ in range(20):
        await child.start()
        os.kill(child.pid, signal.SIGKILL)
        death = await child.death()
        pids.add(death.pid)
        assert "was killed by SIGKILL" in str(death)
    assert len(pids) == 20


async def test_an_exit_is_told(spawn: Spawn, log: Path) -> None:
    """With its code and what it wrote last; the arguments are its own."""
    child = Child(sleeper(log, "out of ink"), spawn)
    await child.start()
    death = await child.death()
    assert (death.returncode, death.last_lines[-1]) == (1, "out of ink")


async def test_other_programs_are_executed(spawn: Spawn, log: Path) -> None:
    child = Child(Program("it", [sys.executable, "-c", "import os; print(os.getppid())"], log), spawn)
    await child.start()
    assert (await child.death()).last_lines == [str(os.getpid())]


async def test_without_the_forker_nothing_is_left(spawn: Spawn, log: Path) -> None:
    """Its programs die with it, and no other can be started."""
    child = Child(sleeper(log), spawn)
    await child.start()
    await told(child)
    forker = psutil.Process(child.pid).parent()
    assert forker
    forker.kill()
    assert (await child.death()).returncode == -signal.SIGKILL
    with pytest.raises(NoForker):
        await child.start()


async def test_the_end_takes_all_along(log: Path) -> None:
    async with forking(["sleeper"]) as spawn:
        child = Child(sleeper(log), spawn)
        await child.start()
    assert psutil.wait_procs([psutil.Process(child.pid)] if psutil.pid_exists(child.pid) else [], timeout=10)[1] == []


async def test_threads_are_refused(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A fork would have the locks of threads that it does not have."""
    async with forking(["threaded"]) as spawn:
        with pytest.raises(NoForker):
            await Child(Program("it", [sys.executable, "-m", "threaded"], log), spawn).start()
    assert "cannot fork: threaded have started 1 threads" in capfd.readouterr().err


def test_nothing_survives_a_killed_parent(log: Path) -> None:
    """Neither the forker nor what it has started."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log)], stdout=subprocess.PIPE)
    try:
        sleeping = psutil.Process(int(parent.stdout.readline() if parent.stdout else b""))
        processes = [sleeping, *sleeping.parents()[:1]]
    finally:
        parent.kill()
        parent.communicate()
    assert psutil.wait_procs(processes, timeout=15)[1] == []
