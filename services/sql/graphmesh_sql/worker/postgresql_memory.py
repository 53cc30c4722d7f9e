"""Bounds the memory of the backend that executes a query: PostgreSQL itself does not.

A thread polls the backend's memory, and cancels the query: on this host from /proc, elsewhere with a function of the
target (see docs/sql.md). What PostgreSQL does in one step, without the checks at which it can be canceled, is bounded
before the query is sent: by `postgresql_sizes` and `postgresql_expansion`.
"""

import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import Connection

from graphmesh_sql.domain import LimitExceeded

POLL_SECONDS: Final = 0.02
"""A backend can take 50 MB meanwhile. A query of a server elsewhere runs for this long before the second connection is
opened."""
STACK_BYTES: Final = 256 * 1024
PAGE_BYTES: Final = resource.getpagesize()
EXCEEDED: Final = "the query needs more memory than a query may use in the database: read less, or aggregate"
BACKEND_QUERY: Final = """
    SELECT pg_backend_pid(), session_user::text || ' ' || current_database(), EXISTS (
        SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'graphmesh' AND p.proname = 'backend_memory' AND p.proargtypes[0] = 'int'::regtype
          AND has_schema_privilege(session_user, n.oid, 'USAGE')
          AND has_function_privilege(session_user, p.oid, 'EXECUTE')
    )
"""
MEMORY_QUERY: Final = "SELECT graphmesh.backend_memory(%s)"

Gauge = Callable[[], int]
"""Returns the bytes of a backend's own memory."""


@contextmanager
def bounded_memory(connection: Connection[Any], limit: int, connect: Callable[[], Connection[Any]]) -> Iterator[None]:
    """Bound the memory that the connection's backend takes while the body runs to `limit` bytes.

    Args:
        connect: opens a connection for the function of the target.

    Raises:
        LimitExceeded: the query was canceled at the limit.
    """
    pid, is_local, has_function = _backend(connection)
    if not is_local and not has_function:
        yield
        return
    first = 0
    with suppress(OSError):  # the backend has ended, which the query shows
        first = _statm(pid)[1] if is_local else _remote(connection, pid)
    watch = _Watch(connection, first + limit, pid, None if is_local else connect)
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        if watch.exceeded:
            raise LimitExceeded(EXCEEDED) from error
        raise
    finally:
        watch.stop()


def is_bounded(connection: Connection[Any]) -> bool:
    """Return whether there is a way to bound the memory of the connection's backend."""
    _, is_local, has_function = _backend(connection)
    return is_local or has_function


def _backend(connection: Connection[Any]) -> tuple[int, bool, bool]:
    """Return the pid of the backend, whether it is a process of this host, and whether the target has the function."""
    pid, title, has_function = connection.execute(BACKEND_QUERY).fetchone() or (0, "", False)
    with suppress(OSError):
        shown = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        return pid, shown.startswith("postgres: ") and f" {title} " in shown, has_function
    return pid, False, has_function


def _statm(pid: int) -> tuple[int, int]:
    """Return the address space of a process, and its own resident memory, in bytes. Raises OSError."""
    total, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    return int(total) * PAGE_BYTES, (int(resident) - int(shared)) * PAGE_BYTES


class _Watch:
    """A thread that cancels the connection's query when its backend has more than `limit` bytes."""

    def __init__(
        self, connection: Connection[Any], limit: int, pid: int, connect: Callable[[], Connection[Any]] | None
    ) -> None:
        """`connect` is None on this host."""
        self._connection, self._limit, self._pid, self._connect = connection, limit, pid, connect
        self._stopped = threading.Event()
        self.exceeded = False
        threading.stack_size(STACK_BYTES)
        self._thread = threading.Thread(target=self._run, name="backend memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        with suppress(OSError, psycopg.Error):  # the backend, or its server, has ended
            if self._connect is None:
                self._poll(lambda: _statm(self._pid)[1])
            elif not self._stopped.wait(POLL_SECONDS):
                with self._connect() as other:
                    self._poll(lambda: _remote(other, self._pid))

    def _poll(self, gauge: Gauge) -> None:
        while True:
            if gauge() > self._limit:
                self.exceeded = True
                self._connection.cancel_safe(timeout=5.0)
            if self._stopped.wait(POLL_SECONDS):
                return


def _remote(connection: Connection[Any], pid: int) -> int:
    (used,) = connection.execute(MEMORY_QUERY, (pid,)).fetchone() or (0,)
    return int(used or 0)
