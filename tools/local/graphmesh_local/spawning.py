"""Start processes: the specification of a process, the port to start it, and its default implementation."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PRIVATE_UMASK = 0o077
"""The files that a process creates are readable by its user only."""
DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")


@dataclass(frozen=True)
class ProcessSpec:
    """A process to start."""

    argv: Sequence[str]
    log: Path
    """Its output is appended here."""
    env: Mapping[str, str]
    """Its whole environment."""
    folder: Path | None
    """Its working directory; None: that of this process."""
    user: str
    """The user to run it as; empty: that of this process."""
    death_signal: int
    """The signal that it gets when this process dies."""


class Process(Protocol):
    """A started process: the part of `asyncio.subprocess.Process` that is needed."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for a signal."""

    async def wait(self) -> int:
        """Wait for its end, and return the `returncode`."""

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError where it has ended."""

    def kill(self) -> None:
        """Raises ProcessLookupError where it has ended."""


class Spawner(Protocol):
    """Starts processes, each of which leads a process group of its own and dies with this process."""

    async def __call__(self, spec: ProcessSpec, /) -> Process:
        """Raises OSError, or ProcessError, where no process can be started."""


async def spawn_process(spec: ProcessSpec) -> Process:
    """Start `spec` by fork and exec. A program that cannot be executed writes the reason and exits with 127."""
    with spec.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *die_with_parent_command(spec.argv, spec.user, spec.death_signal),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=spec.env,
            cwd=spec.folder,
            process_group=0,
            umask=PRIVATE_UMASK,
        )


def die_with_parent_command(argv: Sequence[str], user: str, death_signal: int) -> list[str]:
    """Wrap `argv` so that it gets `death_signal` when this process dies."""
    return [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid()), str(int(death_signal)), user, *argv]
