"""Anchors of audit logs: hashes of rows that were stored outside of the databases, to compare the chains with."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphmesh_cli.failures import Failure, usage_error

HASH = re.compile(r"[0-9a-f]{64}")
Anchors = Mapping[str, Mapping[int, str]]
"""The hashes of rows by their numbers, by database."""


def read_anchors(file: Path, service: str = "") -> Anchors:
    """Read a file with results of `graphmesh audit --verify --json`, and lines of servers' logs. Others are left out.

    Raises:
        Failure: it cannot be read, has no anchor, a broken one, or two of one row with different hashes.
    """
    found: dict[str, dict[int, str]] = {}
    for number, line in _objects(file):
        name, sealed, row_hash = line.get("database") or line.get("service"), line["sealed"], line["hash"]
        is_row = isinstance(sealed, int) and not isinstance(sealed, bool) and sealed >= 0
        if not (isinstance(name, str) and is_row and isinstance(row_hash, str) and HASH.fullmatch(row_hash)):
            raise usage_error(f"{file}: line {number}: needs database or service, sealed and hash of a log")
        if service in ("", name) and found.setdefault(name, {}).setdefault(sealed, row_hash) != row_hash:
            raise Failure(f"{file}: line {number}: row {sealed} of {name} has another hash in a line before")
    if not found:
        raise usage_error(f"{file} has no anchor{f' of {service}' if service else ''}")
    return found


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines that state a sealed row, with their numbers."""
    try:
        with file.open(errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if (
                    line.startswith("{")
                    and isinstance(parsed := _parsed(line), dict)
                    and {"sealed", "hash"} <= set(parsed)
                ):
                    yield number, parsed
    except OSError as error:
        raise usage_error(f"{file}: {error.strerror}") from None


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
