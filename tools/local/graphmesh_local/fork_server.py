"""A process that has imported programs and becomes them: each start is a fork, and saves the second of the imports.

    python -m graphmesh_local.fork_server PACKAGE ...

`python -m PACKAGE` is what it can start then, where the package has a `main()` in its `__main__`. Each
line of stdin is a `Start`; stdout tells of each, in their order, `started PID`, and of each process that has ended
`ended PID CODE`. A child is a process like any other: with a group, an environment, a log and a leash of its own. At
the end of stdin this process ends, and with it, by their leashes, all that it has started.

It has one thread, for only the thread that forks goes on in the child; and it makes nothing that a fork must not copy,
which is all that the modules make when they are not imported but run: event loops, channels, connections.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import psutil

from graphmesh_local.die_with_parent import bind
from graphmesh_local.spawning import Start


def encoded(start: Start) -> bytes:
    """The line of a request."""
    return json.dumps(asdict(start), default=str).encode() + b"\n"


def decoded(line: bytes) -> Start:
    values = json.loads(line)
    folder = Path(values["folder"]) if values["folder"] else None
    return Start(**{**values, "log": Path(values["log"]), "folder": folder})


def module_of(start: Start) -> str:
    """The module or package that is run with `python -m`; empty where it is something else, or as another user."""
    python, option, module, *_ = [*start.argv, "", ""]
    return module if (python, option) == (sys.executable, "-m") and not start.user else ""


def main() -> None:
    for package in sys.argv[1:]:
        import_module(f"{package}.__main__")
    if threads := psutil.Process().num_threads() - 1:
        sys.exit(f"cannot fork: {', '.join(sys.argv[1:])} have started {threads} threads")
    gc.freeze()  # Else the collector would write to, and so copy, every page of the modules in every child.
    parent = os.getpid()
    if start := _serve():
        _become(start, parent)
        import_module(f"{module_of(start)}.__main__").main()


def _serve() -> Start | None:
    """Fork for every request; returns in each child what it is to be, and here None when nobody asks any more."""
    signal.signal(signal.SIGCHLD, lambda *_: _reap())
    for line in sys.stdin.buffer:
        with _undisturbed():
            if (pid := os.fork()) == 0:
                return decoded(line)
            _tell(f"started {pid}")
    return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the end of a child for later, so that its beginning is told first."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def _reap() -> None:
    """Tell of all children that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def _tell(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def _become(start: Start, parent: int) -> None:
    """Have all that a program has which `execute` starts."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    bind(parent, start.death_signal)
    os.environ.clear()
    os.environ.update(start.env)
    with Path(os.devnull).open() as nothing, start.log.open("ab") as log:
        for file, standard in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(file.fileno(), standard)
    if start.folder:
        os.chdir(start.folder)
    sys.argv = list(start.argv[2:])


if __name__ == "__main__":
    main()
