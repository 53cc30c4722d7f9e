"""The settings of a worker."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkerSettings:
    target: str = field(repr=False)
    """The path of an SQLite file, or the URL of a PostgreSQL database."""
    parent: int
    """The pid of the service, with which the worker dies."""
    memory_bytes: int
    """What a query may add to the memory of a fresh worker."""
    backend_bytes: int
    """PostgreSQL: memory that a query may take in the server."""
    temp_bytes: int
    """Space of a query's temporary files."""
    max_steps: int
    """SQLite: virtual machine instructions of a query."""
    max_cost: float
    """PostgreSQL: the planner's estimate of a query."""
    roles: dict[str, dict[str, list[str]]]
    """The columns of the tables that each role may read, by SQLite's names; empty: no role is declared."""
