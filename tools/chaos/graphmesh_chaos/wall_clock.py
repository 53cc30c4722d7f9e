"""Shifts the wall clocks of processes while they run: each Python process, and PostgreSQL.

The monotonic clock of a process is never shifted: no operating system sets it.
"""

import datetime
import mmap
import os
import sqlite3
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import get_data
from types import SimpleNamespace
from typing import Any

FILE_SETTING = "GRAPHMESH_CHAOS_CLOCKS"
"""The environment variable with the path of the file of offsets."""
SITECUSTOMIZE = Path(__file__).parent / "shifted"
"""The folder of the module that Python imports before a program."""
GRPC_MODULES = ("grpc._cython.cygrpc", "grpc.aio._utils")
"""The modules that convert between timeouts and moments of gRPC's core in C, which has the machine's clock."""
CERTIFICATES = "_cython/_credentials/roots.pem"
"""A file of the package grpc with some certificates."""
MAX_PID = 4_194_304
OFFSET = struct.Struct("d")
EPOCH_JULIAN, DAY_SECONDS = 2440587.5, 86400.0
real_datetime = datetime.datetime


class Offsets:
    """The seconds by which clocks are shifted, by pid, in a sparse file that processes share."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(MAX_PID * OFFSET.size)
            self._memory = mmap.mmap(file.fileno(), MAX_PID * OFFSET.size)

    def of(self, pid: int) -> float:
        return float(OFFSET.unpack_from(self._memory, pid * OFFSET.size)[0])

    def set(self, pid: int, seconds: float) -> None:
        OFFSET.pack_into(self._memory, pid * OFFSET.size, seconds)


class WallClocks:
    """The clocks of the Python processes that are started with `settings`."""

    def __init__(self, path: Path) -> None:
        self._offsets = Offsets(path)
        folders = filter(None, (str(SITECUSTOMIZE), os.environ.get("PYTHONPATH")))
        self.settings: Mapping[str, str] = {FILE_SETTING: str(path), "PYTHONPATH": os.pathsep.join(folders)}

    def shift(self, pid: int, seconds: float) -> None:
        """Set the clock of a process to the machine's, plus `seconds`."""
        self._offsets.set(pid, seconds)


@contextmanager
def wall_clocks() -> Iterator[WallClocks]:
    """Yield clocks that are not shifted yet."""
    with tempfile.NamedTemporaryFile(prefix="graphmesh-clocks-") as file:
        yield WallClocks(Path(file.name))


def install(path: Path) -> None:
    """Shift the clock of this process, and of those that it forks. Python calls this before it imports a program."""
    for name in GRPC_MODULES:
        setattr(import_module(name), "time", SimpleNamespace(**vars(time)))  # noqa: B010
    _let_cryptography_find_the_real_datetime()
    offsets, real_time, real_time_ns, real_connect = Offsets(path), time.time, time.time_ns, sqlite3.connect

    def shifted_time() -> float:
        return real_time() + offsets.of(os.getpid())

    def shifted_time_ns() -> int:
        return real_time_ns() + round(offsets.of(os.getpid()) * 1e9)

    def shifted_connect(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real_connect(*args, **options)
        connection.create_function("julianday", 1, lambda _: time.time() / DAY_SECONDS + EPOCH_JULIAN)
        return connection

    replacements = (
        (time, "time", shifted_time),
        (time, "time_ns", shifted_time_ns),
        (datetime, "datetime", _ShiftedDatetime),
        (sqlite3, "connect", shifted_connect),
    )
    for module, name, value in replacements:
        setattr(module, name, value)


def _let_cryptography_find_the_real_datetime() -> None:
    """Its part in Rust imports the class at its first use, and accepts no instance of another one then."""
    from cryptography import x509

    _ = x509.load_pem_x509_certificate(get_data("grpc", CERTIFICATES) or b"").not_valid_after_utc


class _AnyDatetime(type):
    """Real datetimes are instances."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, real_datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, real_datetime)


class _ShiftedDatetime(real_datetime, metaclass=_AnyDatetime):
    """Replaces `datetime.datetime`, whose methods cannot be replaced. Its instances are real datetimes."""

    __slots__ = ()

    def __new__(cls, *args: Any, **options: Any) -> Any:
        return real_datetime(*args, **options)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return real_datetime.fromtimestamp(time.time(), tz)
