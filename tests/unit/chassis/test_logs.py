"""Log lines stay short, whatever exceptions hold."""

import json
from typing import Any

import pytest
import structlog
from graphmesh_chassis.logs import MAX_TEXT, shorten_exceptions, without_locals


def logged(error: BaseException) -> Any:
    """Return an exception as the log has it."""
    entry = structlog.processors.ExceptionRenderer(without_locals)(None, "error", {"exc_info": error})
    return shorten_exceptions(None, "error", entry)["exception"]


def chain(length: int) -> BaseException:
    error: BaseException = ValueError("first")
    for _ in range(length):
        following = ValueError("x" * 100_000)
        following.__cause__ = error
        error = following
    return error


def with_notes() -> BaseException:
    error = ValueError("noted")
    for _ in range(1000):
        error.add_note("x" * 100_000)
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 10_000_000),
        chain(200),
        with_notes(),
        ExceptionGroup("x" * 100_000, [ValueError("x" * 100_000)] * 1000),
    ],
    ids=["text", "causes", "notes", "group"],
)
def test_exceptions_are_logged_shortened(error: BaseException) -> None:
    assert len(json.dumps(logged(error))) < 40 * MAX_TEXT


def test_short_exceptions_are_logged_as_they_are() -> None:
    [entry] = logged(ValueError("no invoice"))

    assert (entry["exc_type"], entry["exc_value"]) == ("ValueError", "no invoice")
