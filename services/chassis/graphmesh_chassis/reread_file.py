"""A file that is read again when it has changed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger("graphmesh.files")

CHECK_SECONDS = 1.0
"""Seconds between two checks of a file for changes, while its content is used."""

ContentT = TypeVar("ContentT")


class RereadFile(Generic[ContentT]):
    """The content of a file. A changed file is read again within a second of use; a broken one changes nothing.

    Raises:
        OSError: the file cannot be read.
        ValueError: its content is refused.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], ContentT]) -> None:
        self._path, self._parse = path, parse
        self._stamp, self._content = stamp_of(path), parse(path.read_bytes())
        self._checked = time.monotonic()

    def content(self) -> ContentT:
        if time.monotonic() - self._checked >= CHECK_SECONDS:
            return self.latest()
        return self._content

    def latest(self) -> ContentT:
        """Return the content, read again where the file has changed."""
        self._checked, stamp = time.monotonic(), stamp_of(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._content = self._parse(self._path.read_bytes())
                log.info("read again", file=str(self._path))
            except (OSError, ValueError) as error:
                log.error("not read again, what it was before is used", file=str(self._path), cause=str(error))
        return self._content


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return a value that differs after a change of the file; empty where it does not exist."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
