"""Errors of a project's modules in one sentence: the exception, and the line of the project's code that raised it."""

import sysconfig
import traceback
from pathlib import Path

LIBRARIES = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib"))
MAX_TEXT = 1_000
OWN = Path(__file__).resolve().parent


def describe(error: BaseException) -> str:
    """Return the type, the message and the place of an exception of a project's code."""
    if isinstance(error, SyntaxError) and error.filename:
        column = f", column {error.offset}" if error.offset else ""
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno}{column})"
    place = _place(error)
    return " ".join(f"{_text(error)}{place}".split())


def _text(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()[:MAX_TEXT]


def _place(error: BaseException) -> str:
    """Return the innermost line in a file that is of no library; empty where there is none."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if not (file.startswith((*LIBRARIES, "<", str(OWN)))):
            return f" ({file}, line {line})"
    return ""
