"""The cause of a run's failure, as its author sees it in development: the traceback through the author's own code.

Frames of libraries are left out, but for the line of one that raised; secrets of the environment are masked. The size
is bounded, whatever a graph raises.
"""

import os
import re
import sysconfig
import traceback
from collections import deque
from collections.abc import Collection, Iterator
from itertools import dropwhile
from pathlib import Path
from types import FrameType

import grpc
from google.rpc.error_details_pb2 import DebugInfo
from graphmesh_chassis.errors import GraphmeshError

MAX_FRAMES = 12
"""The innermost frames of an exception that are shown."""
MAX_EXCEPTIONS = 4
"""Exceptions of a chain of causes, and members of a group."""
MAX_LINES = 120
MAX_LINE = 400
"""Characters of a line."""
OWN = re.compile(r"(?:graphmesh|graphmesh_(?:chassis|contracts|nodes|orchestrator))(?:\.|$)")
"""Modules of graphmesh, wherever they are installed: their errors have a reason and a message."""
PYTHON = tuple(
    {str(path) for path in (Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("stdlib")).resolve())}
)
LIBRARIES = ("/site-packages/", "/dist-packages/")
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|_URL$|_DSN$", re.IGNORECASE)
MIN_SECRET = 6
"""Characters of a secret; a shorter one would mask parts of words."""
URL_PASSWORD = re.compile(r"(?<=://)[^/\s:@]{0,100}:[^/\s@]{1,200}@")
MASK = "***"
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
NOTE_OF_LANGGRAPH = "During task with name "

Frames = list[tuple[FrameType, int]]


def cause_of(error: BaseException, packages: Collection[str] = ()) -> DebugInfo | None:
    """Return the traceback of an error through code of the graph's author; else the error of the library that raised.

    Args:
        packages: the author's packages that are installed where libraries are.

    Returns:
        None for an error of graphmesh without code of the author on its way.
    """
    shown = _Shown(packages)
    chain = [one for one in _chain(error) if not isinstance(one, grpc.RpcError)]
    of_author = list(dropwhile(lambda one: not shown.own_frames(one), chain))
    if not (chain := of_author or list(dropwhile(lambda one: isinstance(one, GraphmeshError), chain))):
        return None
    lines = [line for one in _text(chain[:MAX_EXCEPTIONS], shown) for line in one.splitlines()]
    text = [masked(line)[:MAX_LINE] for line in lines[-MAX_LINES:]]
    return DebugInfo(stack_entries=text[:-1], detail=text[-1])


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


def _text(chain: list[BaseException], shown: "_Shown") -> Iterator[str]:
    """Yield the parts of a traceback in Python's form, the first cause first."""
    for number, error in enumerate(reversed(chain)):
        if number:
            yield f"\n{CAUSE if error.__cause__ is chain[-number] else CONTEXT}\n"
        yield from _one(error, shown)


def _one(error: BaseException, shown: "_Shown") -> Iterator[str]:
    own, raising = shown.own_frames(error), shown.raising_frame(error)
    if own:
        yield "Traceback (of the graph's own code, most recent call last):"
        yield from _formatted(own)
    if raising:
        yield "Raised by a library:"
        yield from _formatted(raising)
    for line in traceback.format_exception_only(error):
        if not line.startswith(NOTE_OF_LANGGRAPH):
            yield line[: MAX_LINE * 10]
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions[:MAX_EXCEPTIONS]:
            yield from (f"  | {line}" for part in _one(member, shown) for line in part.splitlines())


def _formatted(frames: Frames) -> list[str]:
    return traceback.StackSummary.extract(iter(frames), lookup_lines=True).format()


class _Shown:
    """Selects the frames to show."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def own_frames(self, error: BaseException) -> Frames:
        """Return the innermost frames of the author's code."""
        return list(deque(filter(self._is_own, traceback.walk_tb(error.__traceback__)), maxlen=MAX_FRAMES))

    def raising_frame(self, error: BaseException) -> Frames:
        """Return the innermost frame, where it is one of a library, neither of Python's nor of graphmesh's."""
        frames = deque(traceback.walk_tb(error.__traceback__), maxlen=1)
        libraries = (one for one in frames if _is_library(one[0]) and not OWN.match(_module(one[0])))
        return [one for one in libraries if not self._is_own(one)]

    def _is_own(self, found: tuple[FrameType, int]) -> bool:
        frame, _ = found
        name, file = _module(frame), frame.f_code.co_filename
        if _is_library(frame):
            return name.partition(".")[0] in self._packages
        return not (OWN.match(name) or file.startswith(("<frozen", *PYTHON)))


def _is_library(frame: FrameType) -> bool:
    return any(folder in frame.f_code.co_filename for folder in LIBRARIES)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
