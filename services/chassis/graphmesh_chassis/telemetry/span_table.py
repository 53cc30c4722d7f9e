"""The spans of a process that are not exported yet, in a file that outlives it.

Pages of a mapped file belong to the kernel, so they are there after SIGKILL. A process locks its file. Where the lock
is gone, any process of the folder exports what the file has, so that no span of others is without its parent.

    header: magic, the service's name, time of the last sign of life in ns since 1970
    slots:  state, end in ns (0: open), length, JSON [name, kind, traceparent, parent, start, attributes, reason]
"""

import fcntl
import json
import mmap
import os
import struct
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from graphmesh_chassis.telemetry.spans import Finished

SUFFIX = ".spans"
MAGIC = b"GMSPANS1"
HEADER = struct.Struct("<8s64sQ")
LIFE = struct.Struct("<Q")
LIFE_AT = HEADER.size - LIFE.size
SLOT = struct.Struct("<BQH")
SLOT_BYTES = 768
SLOTS = 4096
"""More spans than these at a time are not in the file."""
FREE, USED = 0, 1
DIED = "PROCESS_DIED"
"""The error of a span whose process died in it."""
GRACE_NS = 1_000_000_000
"""How long after its last sign of life a process may have lived, and what it had called may have ended."""


class SpanTable:
    """The file of this process."""

    def __init__(self, folder: Path, service: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{service}-{os.getpid()}-{time.time_ns()}{SUFFIX}"
        self._file = self._path.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.truncate(HEADER.size + SLOTS * SLOT_BYTES)
        self._map = mmap.mmap(self._file.fileno(), 0)
        HEADER.pack_into(self._map, 0, MAGIC, service.encode()[:64], time.time_ns())
        self._free = deque(range(SLOTS))
        self._used: dict[str, int] = {}

    def write(self, span: Finished) -> None:
        """Store a span that has begun, with an end of 0, or ended."""
        if (slot := self._used.get(span.traceparent)) is None:
            if not self._free:
                return
            slot = self._used[span.traceparent] = self._free.popleft()
        content = _packed(span)
        at = HEADER.size + slot * SLOT_BYTES
        self._map[at + SLOT.size : at + SLOT.size + len(content)] = content
        SLOT.pack_into(self._map, at, USED, span.end, len(content))

    def remove(self, traceparent: str) -> None:
        """Forget a span that has been exported."""
        if (slot := self._used.pop(traceparent, None)) is not None:
            self._map[HEADER.size + slot * SLOT_BYTES] = FREE
            self._free.append(slot)

    def live(self) -> None:
        """Write a sign of life."""
        LIFE.pack_into(self._map, LIFE_AT, time.time_ns())

    def close(self, *, keep: bool) -> None:
        """Remove the file, or keep it for another process, which exports what is left in it."""
        if not keep:
            self._path.unlink(missing_ok=True)
        self._map.close()
        self._file.close()


def _packed(span: Finished) -> bytes:
    fields = [span.name, span.kind, span.traceparent, span.parent, span.start, dict(span.attributes), span.reason]
    content = json.dumps(fields).encode()
    if len(content) > SLOT_BYTES - SLOT.size:
        fields[0], fields[5] = span.name[:100], {}
        content = json.dumps(fields).encode()
    return content[: SLOT_BYTES - SLOT.size]


def adopted(folder: Path) -> Iterator[tuple[str, list[Finished]]]:
    """Yield what processes that have died had not exported, by service, and remove the files afterwards."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError), path.open("rb") as file:
            if not _is_abandoned(file, path):
                continue
            yield _read(file.read())
            path.unlink(missing_ok=True)


def _is_abandoned(file: BinaryIO, path: Path) -> bool:
    """Lock the file of a process that has died, unless another one has just adopted it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino


def _read(content: bytes) -> tuple[str, list[Finished]]:
    """Return the service and the spans of a file; what is malformed, as after a full disk, is left out."""
    if len(content) < HEADER.size or not content.startswith(MAGIC):
        return "", []
    _, service, last = HEADER.unpack_from(content)
    died = min(last + GRACE_NS, time.time_ns())
    found = []
    for at in range(HEADER.size, len(content) - SLOT_BYTES + 1, SLOT_BYTES):
        state, end, length = SLOT.unpack_from(content, at)
        if state == USED:
            with suppress(ValueError, TypeError):
                found.append(_unpacked(content[at + SLOT.size : at + SLOT.size + length], end, died))
    return service.rstrip(b"\0").decode(errors="replace"), found


def _unpacked(content: bytes, end: int, died: int) -> Finished:
    name, kind, traceparent, parent, start, attributes, reason = json.loads(content)
    span = Finished(name, traceparent, parent, start, end, kind, attributes, reason)
    return span if end else replace(span, end=max(died, start), reason=DIED)
