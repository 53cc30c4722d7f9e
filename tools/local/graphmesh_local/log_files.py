"""The log files of a mesh's processes: read, merged in the order of time, and followed. Memory is bounded."""

import heapq
import json
import os
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from graphmesh_local.errors import LocalError

MAX_LINE_BYTES = 32 * 1024
"""The rest of a longer line is left out."""
BLOCK_BYTES = 64 * 1024
REPLICA = re.compile(r"(.+)-\d+")
ENVOY_TIME = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})\]")
ISO_TIME = re.compile(r'"timestamp": ?"([0-9T:.+Z-]{19,35})"|^\[?(\d{4}-\d\d-\d\dT[0-9:.+Z-]{8,29})')
CUT = b"\xe2\x80\xa6"
BEGINNING = datetime.fromtimestamp(0, UTC)


class UnknownProcess(LocalError):
    """No process of the mesh has written a log under the name; the message lists the names."""


@dataclass(frozen=True)
class LogLine:
    """A line of a process' log."""

    process: str
    time: datetime
    """The time of the line, or of the last one before it that has a time."""
    text: str

    @property
    def fields(self) -> dict[str, Any] | None:
        """The fields of a structured line; None for any other."""
        if not self.text.startswith("{"):
            return None
        try:
            parsed = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, dict) else None


def log_files(folder: Path, names: Collection[str] = ()) -> dict[str, Path]:
    """Return the log files by process. The name of a service is that of all its replicas; no names are all.

    Raises:
        UnknownProcess: no process has one of the names, or there are no logs.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not found:
        raise UnknownProcess(f"there are no logs in {folder}")
    chosen = {
        process: path
        for process, path in found.items()
        if not names or process in names or ((match := REPLICA.fullmatch(process)) and match[1] in names)
    }
    services = {match[1] for process in found if (match := REPLICA.fullmatch(process))}
    if unknown := sorted(set(names) - found.keys() - services):
        raise UnknownProcess(f"no process is called {', '.join(unknown)}; there are: {', '.join(found)}")
    return chosen


def merged(files: Iterable["LogFile"], since: datetime = BEGINNING, containing: str = "") -> Iterator[LogLine]:
    """Yield the lines of all files from where each is read on, in the order of time."""
    streams = [file.lines(containing) for file in files]
    for line in heapq.merge(*streams, key=lambda line: line.time):
        if line.time >= since:
            yield line


def last_lines(files: Sequence["LogFile"], count: int) -> list[LogLine]:
    """Return the last lines of all files together, and leave each file at its end."""
    for file in files:
        file.seek_last_lines(count)
    return list(deque(merged(files), maxlen=count))


class LogFile:
    """One log file, read from a position on. A file that is replaced or cut is read from its new beginning."""

    def __init__(self, process: str, path: Path) -> None:
        self.process, self.path = process, path
        self._position, self._inode = 0, 0
        self._time = BEGINNING
        self._is_cut = False
        """Whether the next line is the rest of one that was too long."""

    def lines(self, containing: str = "") -> Iterator[LogLine]:
        """Yield the complete lines up to the present end; those that contain a text, where one is given."""
        with suppress(OSError), self._opened() as file:
            while raw := self._line(file):
                self._position = file.tell()
                text = raw.decode(errors="replace")
                self._time = _time_of(text) or self._time
                if containing in text:
                    yield LogLine(self.process, self._time, text.rstrip("\r\n"))

    def seek_last_lines(self, count: int) -> None:
        """Continue at the last `count` lines, which are searched from the end."""
        with suppress(OSError), self._opened() as file:
            position, missing = file.seek(0, os.SEEK_END), count + 1
            while position > 0 and missing > 0:
                size = min(BLOCK_BYTES, position)
                position -= size
                file.seek(position)
                block = file.read(size)
                newlines = block.count(b"\n")
                if newlines >= missing:
                    position += _end_of_line(block, newlines - missing)
                missing -= newlines
            self._position = position

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the file at the position. Raises OSError where there is none."""
        with self.path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_ino != self._inode or stat.st_size < self._position:
                self._inode, self._position, self._is_cut = stat.st_ino, 0, False
            file.seek(self._position)
            yield file

    def _line(self, file: BinaryIO) -> bytes:
        """Return the next complete line; empty where there is none yet."""
        while raw := file.readline(MAX_LINE_BYTES):
            is_whole = raw.endswith(b"\n")
            if not is_whole and len(raw) < MAX_LINE_BYTES:
                return b""  # the process is writing it
            was_cut, self._is_cut = self._is_cut, not is_whole
            if not was_cut:
                return raw if is_whole else raw + CUT
            self._position = file.tell()
        return b""


def _end_of_line(block: bytes, number: int) -> int:
    """Return the position behind newline `number`, from 0."""
    position = -1
    for _ in range(number + 1):
        position = block.index(b"\n", position + 1)
    return position + 1


def _time_of(text: str) -> datetime | None:
    """Return the time of a line of a server or of Envoy; None where it has none."""
    if match := ISO_TIME.search(text):
        return _parsed(match[1] or match[2])
    match = ENVOY_TIME.match(text)
    return _parsed(match[1]) if match else None


def _parsed(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
