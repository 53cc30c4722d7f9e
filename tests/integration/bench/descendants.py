"""The processes that a benchmark may leave behind."""

import psutil


def descendants() -> set[psutil.Process]:
    """The descendants of this process; other tests may have left servers to the session.

    Not those that a PostgreSQL server starts, and ends, for its own work.
    """
    return {process for process in psutil.Process().children(recursive=True) if not _is_of_postgres(process)}


def _is_of_postgres(process: psutil.Process) -> bool:
    try:
        parent = process.parent()
        return parent is None or parent.name() == "postgres"
    except psutil.NoSuchProcess:
        return True
