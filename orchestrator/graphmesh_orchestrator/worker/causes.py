"""The cause of a run's failure, as its author sees it in development: the traceback through the author's own code.

Frames of Python's library, of LangGraph and of graphmesh are left out, and secrets of the environment are masked. The
size is bounded, whatever a graph raises.
"""

import os
import re
import sysconfig
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType

from google.rpc.error_details_pb2 import DebugInfo

MAX_FRAMES = 12
"""The innermost frames of an exception that are shown."""
MAX_EXCEPTIONS = 4
"""Exceptions of a chain of causes, and members of a group."""
MAX_LINES = 120
MAX_LINE = 400
"""Characters of a line."""
LIBRARY = re.compile(
    r"(?:graphmesh|graphmesh_(?:chassis|contracts|nodes|orchestrator)|langgraph|langchain_core|langsmith)(?:\.|$)"
)
"""Modules between a node and the functions of its author, wherever they are installed."""
INSTALLED = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib"))
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|_URL$|_DSN$", re.IGNORECASE)
MIN_SECRET = 6
"""Characters of a secret; a shorter one would mask parts of words."""
URL_PASSWORD = re.compile(r"(?<=://)[^/\s:@]{0,100}:[^/\s@]{1,200}@")
MASK = "***"
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
NOTE_OF_LANGGRAPH = "During task with name "

IsShown = Callable[[FrameType], bool]


def cause_of(error: BaseException) -> DebugInfo | None:
    """Return the traceback of an error through code of the graph's author; None where none of it is on the way."""
    for is_shown in (_is_author, _is_no_library):
        chain = list(_chain(error))
        while chain and not _frames(chain[0], is_shown):
            del chain[0]
        if chain:
            lines = [line for one in _text(chain[:MAX_EXCEPTIONS], is_shown) for line in one.splitlines()]
            text = [masked(line)[:MAX_LINE] for line in lines[-MAX_LINES:]]
            return DebugInfo(stack_entries=text[:-1], detail=text[-1])
    return None


def masked(text: str) -> str:
    """Replace passwords in URLs, and the values of environment variables whose names are those of secrets."""
    values = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= MIN_SECRET}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return URL_PASSWORD.sub(f"{MASK}@", text)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it, at most some of them."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < 4 * MAX_EXCEPTIONS:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _text(chain: list[BaseException], is_shown: IsShown) -> Iterator[str]:
    """Yield the parts of a traceback in Python's form, the first cause first."""
    for number, error in enumerate(reversed(chain)):
        if number:
            yield f"\n{CAUSE if error.__cause__ is chain[-number] else CONTEXT}\n"
        yield from _one(error, is_shown)


def _one(error: BaseException, is_shown: IsShown) -> Iterator[str]:
    if frames := _frames(error, is_shown):
        yield "Traceback (of the graph's own code, most recent call last):"
        yield from traceback.StackSummary.extract(iter(frames), lookup_lines=True).format()
    for line in traceback.format_exception_only(error):
        if not line.startswith(NOTE_OF_LANGGRAPH):
            yield line[: MAX_LINE * 10]
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions[:MAX_EXCEPTIONS]:
            yield from (f"  | {line}" for part in _one(member, is_shown) for line in part.splitlines())


def _frames(error: BaseException, is_shown: IsShown) -> list[tuple[FrameType, int]]:
    kept: deque[tuple[FrameType, int]] = deque(maxlen=MAX_FRAMES)
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if is_shown(trace.tb_frame):
            kept.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return list(kept)


def _is_author(frame: FrameType) -> bool:
    return _is_no_library(frame) and not str(Path(frame.f_code.co_filename)).startswith(INSTALLED)


def _is_no_library(frame: FrameType) -> bool:
    """Whether a frame may be the author's: a project may be installed where libraries are."""
    name, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
    is_of_python = file.startswith("<frozen") or (file.startswith(INSTALLED[0]) and not file.startswith(INSTALLED[2]))
    return not LIBRARY.match(name) and not is_of_python
