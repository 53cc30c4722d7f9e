"""The limits that the operating system enforces on a worker."""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
NICE: Final = 5
TEMP_FILES: Final = 4
"""Temporary files that a query may have open at once; each gets an equal part of the space."""


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies. Only Linux can; elsewhere RLIMIT_CPU ends it later."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent process has already ended")


def limit_process(memory_bytes: int, temp_bytes: int) -> None:
    """Bound what this process may add to its present memory, and the space of its temporary files.

    Its queries give way to the service, and to all else on this machine.
    """
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if used := _address_space():
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (temp_bytes // TEMP_FILES,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_free_descriptor() + TEMP_FILES + SPARE_FILES,) * 2)


SPARE_FILES: Final = 4
"""Descriptors for the database and its write-ahead log."""


def limit_cpu(seconds: float) -> None:
    """Let the kernel kill this process when it has used `seconds` more of CPU time, rounded up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _address_space() -> int:
    """Bytes of address space in use; 0 where the platform does not tell, and RLIMIT_AS has no reliable meaning."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _free_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor
