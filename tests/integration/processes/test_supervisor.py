"""Child processes and their supervisor, with real processes."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from graphmesh_local.child_process import Child, NotReady, ProcessDied, Program, State, reserve_port
from graphmesh_local.probes import http_probe, tcp_probe
from graphmesh_local.supervisor import OnDeath, Supervisor

SLEEP = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {SLEEP}"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "it.log"


def python(log: Path, code: str, name: str = "it", **options: object) -> Program:
    return Program(name=name, argv=[sys.executable, "-u", "-c", code], log=log, **options)  # type: ignore[arg-type]


async def wait_for_text(path: Path, text: str) -> None:
    async with asyncio.timeout(60):
        while text not in (path.read_text() if path.exists() else ""):
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def wait_for_end(pid: int) -> None:
    async with asyncio.timeout(60):
        while is_alive(pid):
            await asyncio.sleep(0.01)


class Changes(list[tuple[str, int, State]]):
    """An observer that records name, number of starts and state of each change."""

    def __call__(self, child: Child) -> None:
        self.append((child.program.name, child.starts, child.state))


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    async with Supervisor() as supervisor:
        yield supervisor


async def test_death_names_process_code_and_last_lines(supervisor: Supervisor, log: Path) -> None:

    await supervisor.start([python(log, "import sys; print('no such table'); sys.exit(3)", name="billing")])
    death = await supervisor.wait_failure()
    assert (death.name, death.returncode, death.last_lines) == ("billing", 3, ["no such table"])
    assert f"billing (pid {death.pid}) exited with code 3" in str(death)


async def test_death_by_signal_names_the_signal(supervisor: Supervisor, log: Path) -> None:
    [child] = await supervisor.start([python(log, SLEEP, name="billing")])
    psutil.Process(child.pid).kill()
    assert "was killed by SIGKILL" in str(await supervisor.wait_failure())


async def test_last_lines_are_those_of_the_last_start(log: Path) -> None:
    """A restarted process does not report the output of its predecessor."""
    child = Child(python(log, "import os; print('pid', os.getpid())"))
    await child.start()
    await child.wait()
    await child.start()
    assert (await child.wait()).last_lines == [f"pid {child.pid}"]
    assert len(log.read_text().splitlines()) == 2


async def test_death_before_ready_fails_the_start(supervisor: Supervisor, log: Path) -> None:
    """Without waiting for the timeout."""
    program = python(log, "raise SystemExit('bad setting')", probe=tcp_probe(f"127.0.0.1:{reserve_port()}"))
    with pytest.raises(ProcessDied, match="bad setting"):
        await supervisor.start([program])


async def test_missing_program_is_reported(supervisor: Supervisor, log: Path) -> None:
    program = Program(name="it", argv=["/no/such/program"], log=log, probe=tcp_probe(f"127.0.0.1:{reserve_port()}"))
    with pytest.raises(ProcessDied, match="cannot run /no/such/program: No such file or directory"):
        await supervisor.start([program])


async def test_start_times_out(supervisor: Supervisor, log: Path) -> None:
    program = python(
        log, "import time; time.sleep(600)", probe=tcp_probe(f"127.0.0.1:{reserve_port()}"), start_timeout=0.2
    )
    with pytest.raises(NotReady, match=r"not ready after 0\.2 s"):
        await supervisor.start([program])


async def test_death_during_the_start_of_another_fails_the_start(supervisor: Supervisor, log: Path) -> None:
    """Also when the dead process was ready already."""
    ready = python(log, "import time; time.sleep(0.5)", name="billing")
    never = python(
        log.with_name("b.log"), "import time; time.sleep(600)", probe=tcp_probe(f"127.0.0.1:{reserve_port()}")
    )
    with pytest.raises(ProcessDied, match="billing"):
        await supervisor.start([ready, never])


async def test_failed_start_leaves_no_process(log: Path) -> None:
    """When one process of a group does not become ready, the others are stopped as well."""
    good = python(log, SLEEP, name="good")
    bad = python(log.with_name("bad.log"), "", name="bad", probe=tcp_probe(f"127.0.0.1:{reserve_port()}"))
    supervisor = Supervisor()
    with pytest.raises(ProcessDied):
        async with supervisor:
            await supervisor.start([good, bad])
    assert [is_alive(child.pid) for child in supervisor.children] == [False, False]


async def test_http_probe_waits_for_200(supervisor: Supervisor, tmp_path: Path, log: Path) -> None:
    port = reserve_port()
    argv = [sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", str(tmp_path), str(port)]
    program = Program(name="web", argv=argv, log=log, probe=http_probe(f"http://127.0.0.1:{port}/ready"))
    starting = asyncio.create_task(supervisor.start([program]))
    await wait_for_text(log, "404")
    assert not starting.done()
    (tmp_path / "ready").touch()
    [child] = await starting
    assert child.state is State.READY


async def test_stop_is_in_reverse_order(log: Path, tmp_path: Path) -> None:
    """The group that was started last, and may need the others, ends first."""
    journal = tmp_path / "journal"
    code = f"""
import signal, sys, time
def end(*_):
    open({str(journal)!r}, "a").write(sys.argv[1])
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("up " + sys.argv[1])
time.sleep(600)
"""
    async with Supervisor() as supervisor:
        for name in "ab":
            argv = [sys.executable, "-u", "-c", code, name]
            await supervisor.start([Program(name=name, argv=argv, log=log)])
            await wait_for_text(log, f"up {name}")
    assert journal.read_text() == "ba"


async def test_stop_kills_after_the_timeout(log: Path) -> None:
    """A process that ignores SIGTERM gets SIGKILL."""
    async with Supervisor() as supervisor:
        [child] = await supervisor.start([python(log, STUBBORN, stop_timeout=0.2)])
        await wait_for_text(log, "up")
    assert not is_alive(child.pid)
    assert child.state is State.STOPPED


async def test_stop_kills_the_whole_process_group(log: Path) -> None:
    code = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '600']).pid); time.sleep(600)"
    async with Supervisor() as supervisor:
        await supervisor.start([python(log, code)])
        await wait_for_text(log, "\n")
    await wait_for_end(int(log.read_text()))


async def test_continue_reports_a_death_and_keeps_the_others(log: Path) -> None:
    changes = Changes()
    async with Supervisor(OnDeath.CONTINUE) as supervisor:
        supervisor.subscribe(changes)
        first, second = await supervisor.start([python(log, SLEEP, "a"), python(log, SLEEP, "b")])
        psutil.Process(first.pid).kill()
        await wait_for_end(first.pid)
        async with asyncio.timeout(60):
            while first.state is State.READY:
                await asyncio.sleep(0.01)
        assert is_alive(second.pid)
        assert changes[-1] == ("a", 1, State.DIED)
        assert second.state is State.READY


async def test_restart_starts_a_new_process(log: Path) -> None:
    """Of the same program, until it is ready again."""
    changes = Changes()
    async with Supervisor(OnDeath.RESTART) as supervisor:
        supervisor.subscribe(changes)
        [child] = await supervisor.start([python(log, SLEEP)])
        before = child.pid
        psutil.Process(before).send_signal(signal.SIGSEGV)
        async with asyncio.timeout(60):
            while (child.starts, child.state) != (2, State.READY):
                await asyncio.sleep(0.01)
        assert child.pid != before
    first_start = [("it", 1, state) for state in (State.STARTING, State.READY, State.DIED)]
    assert changes == [*first_start, ("it", 2, State.STARTING), ("it", 2, State.READY)]


def test_reserved_ports_are_assigned_to_no_other_socket() -> None:
    """Neither a second reservation nor a listener on port 0 gets a reserved port, but its owner can bind it."""
    reserved = [reserve_port() for _ in range(50)]
    assert len(set(reserved)) == 50
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(200)]
    assert not set(reserved) & {listener.getsockname()[1] for listener in listeners}
    listeners += [socket.create_server(("127.0.0.1", port)) for port in reserved]
    for listener in listeners:
        listener.close()
