"""Structured logs: one JSON object a line, on standard output."""

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict

from graphmesh_chassis.redaction import DEFAULT
from graphmesh_chassis.telemetry import names, spans

without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Formats tracebacks without the values of variables, which hold customers' data."""


MAX_TEXT = 4_000
"""Characters of an exception's text in the log. Code of graphs raises exceptions with whole documents in them."""
MAX_EXCEPTIONS = 16
"""The most exceptions of a chain of causes in the log."""


def shorten_exceptions(_: Any, __: str, entry: EventDict) -> EventDict:
    """Shorten what `ExceptionRenderer` has made of an exception."""
    if isinstance(chain := entry.get("exception"), list):
        _shorten(chain)
    return entry


def _shorten(chain: list[dict[str, Any]]) -> None:
    del chain[MAX_EXCEPTIONS:]
    for exception in chain:
        exception["exc_value"] = exception["exc_value"][:MAX_TEXT]
        exception["exc_notes"] = [note[:MAX_TEXT] for note in exception["exc_notes"][:MAX_EXCEPTIONS]]
        del exception["exceptions"][MAX_EXCEPTIONS:]
        for member in exception["exceptions"]:
            _shorten(member)


def add_trace(_: Any, __: str, entry: EventDict) -> EventDict:
    """Add the ids of the present span, where the work that logs is traced."""
    if present := spans.present():
        entry[names.TRACE_ID], entry[names.SPAN_ID] = present[3:35], present[36:52]
    return entry


def redact(_: Any, __: str, entry: EventDict) -> EventDict:
    """Replace personal data and secrets in the texts of an entry, also in those of exceptions."""
    return {key: DEFAULT.redact_value(value) for key, value in entry.items()}


class _BestEffortStream:
    """A text stream that drops what cannot be written, to a full disk or a closed pipe, so that no call fails by it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(service: str, level: str) -> None:
    """Configure structlog for this process. Call it once, at the start."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_trace,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(without_locals),
            shorten_exceptions,
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _BestEffortStream(sys.stdout))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
