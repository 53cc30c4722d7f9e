"""How a program becomes a process."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LEASH = Path(__file__).with_name("die_with_parent.py")


@dataclass(frozen=True)
class Start:
    """What a new process is to be."""

    argv: Sequence[str]
    log: Path
    """Its output is appended here."""
    env: Mapping[str, str]
    """All of its environment."""
    folder: Path | None
    """Its working directory; None: that of this process."""
    user: str
    """Whom to run it as; empty: as this process."""
    death_signal: int
    """What it gets when this process dies."""


class Process(Protocol):
    """A process that was started, as far as `asyncio.subprocess.Process` is needed."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for a signal."""

    async def wait(self) -> int:
        """The `returncode` when it has ended."""

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError where it has ended."""

    def kill(self) -> None:
        """Raises ProcessLookupError where it has ended."""


class Spawn(Protocol):
    """A way to start processes: each leads a process group of its own, and dies with this one."""

    async def __call__(self, start: Start, /) -> Process:
        """Raises OSError, or ProcessError, where there can be no process."""


async def execute(start: Start) -> Process:
    """A new program; where it cannot be run, the process says so and ends with 127."""
    with start.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *leashed(start.argv, start.user, start.death_signal),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=start.env,
            cwd=start.folder,
            process_group=0,
        )


def leashed(argv: Sequence[str], user: str, death_signal: int) -> list[str]:
    """`argv` so that it gets `death_signal` when this process dies."""
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(death_signal)), user, *argv]
