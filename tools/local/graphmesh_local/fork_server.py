"""The fork server: a process that has imported Python programs, and forks itself to start one without the imports.

    python -m graphmesh_local.fork_server PACKAGE ...

It starts `python -m PACKAGE` for each package that has a `main()` in its `__main__`. Each line of stdin is a
`ProcessSpec` as JSON. Each line of stdout reports `started PID`, in the order of the requests, or `ended PID CODE`. A
child has a process group, an environment, a log and a parent-death signal of its own. At the end of stdin the server
ends, and with it, by their parent-death signals, all that it has started.

The server has one thread, because only the thread that forks exists in the child. Programs must create event loops,
channels and connections in `main()` and not when they are imported: a fork must not copy them.
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

from graphmesh_local.die_with_parent import set_parent_death_signal
from graphmesh_local.spawning import PRIVATE_UMASK, ProcessSpec


def encode(spec: ProcessSpec) -> bytes:
    """Encode a request as one line."""
    return json.dumps(asdict(spec), default=str).encode() + b"\n"


def decode(line: bytes) -> ProcessSpec:
    values = json.loads(line)
    folder = Path(values["folder"]) if values["folder"] else None
    return ProcessSpec(**{**values, "log": Path(values["log"]), "folder": folder})


def python_module(spec: ProcessSpec) -> str:
    """Return the module that is run with `python -m`; empty for any other command, and for one of another user."""
    python, option, module, *_ = [*spec.argv, "", ""]
    return module if (python, option) == (sys.executable, "-m") and not spec.user else ""


def main() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy starts its threads when it is imported.
    for package in sys.argv[1:]:
        import_module(f"{package}.__main__")
    if threads := psutil.Process().num_threads() - 1:
        sys.exit(f"cannot fork: {', '.join(sys.argv[1:])} have started {threads} threads")
    gc.freeze()  # Else the collector would write to, and so copy, every page of the modules in every child.
    parent = os.getpid()
    if spec := _fork_for_each_request():
        _set_up_child(spec, parent)
        import_module(f"{python_module(spec)}.__main__").main()


def _fork_for_each_request() -> ProcessSpec | None:
    """Return in each child its specification, and in the server None at the end of stdin."""
    signal.signal(signal.SIGCHLD, lambda *_: _report_ended())
    for line in sys.stdin.buffer:
        with _sigchld_blocked():
            if (pid := os.fork()) == 0:
                return decode(line)
            _report(f"started {pid}")
    return None


@contextmanager
def _sigchld_blocked() -> Iterator[None]:
    """Defer SIGCHLD, so that the start of a child is reported before its end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def _report_ended() -> None:
    """Reap and report all children that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _report(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def _report(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def _set_up_child(spec: ProcessSpec, parent: int) -> None:
    """Give the child the group, environment, log and arguments that `spawn_process` gives to a program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.umask(PRIVATE_UMASK)
    os.setpgid(0, 0)
    set_parent_death_signal(parent, spec.death_signal)
    os.environ.clear()
    os.environ.update(spec.env)
    with Path(os.devnull).open() as null, spec.log.open("ab") as log:
        for file, standard in ((null, 0), (log, 1), (log, 2)):
            os.dup2(file.fileno(), standard)
    if spec.folder:
        os.chdir(spec.folder)
    sys.argv = list(spec.argv[2:])


if __name__ == "__main__":
    main()
