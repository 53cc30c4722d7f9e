"""The processes that a benchmark may leave behind."""

import psutil


def descendants() -> set[psutil.Process]:
    """Return the descendants of this process; other tests may have left servers to the session."""
    return set(psutil.Process().children(recursive=True))


def left_since(before: set[psutil.Process]) -> set[psutil.Process]:
    """Return the descendants that are new, without those that servers of other tests have started for their work."""
    return {process for process in descendants() - before if not _is_below(process, before)}


def _is_below(process: psutil.Process, others: set[psutil.Process]) -> bool:
    try:
        return not others.isdisjoint(process.parents())
    except psutil.NoSuchProcess:
        return True
