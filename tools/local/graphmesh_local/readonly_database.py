"""Read-only access to the databases of services."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url


@contextmanager
def connect_read_only(url: str) -> Iterator[sa.Connection]:
    """Connect with one snapshot of the database. A missing SQLite file is an error and is not created."""
    engine = read_only_engine(url, poolclass=sa.NullPool)
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(**options)
        else:
            connection.exec_driver_sql("BEGIN")  # the driver begins a transaction for writes only
        yield connection


def read_only_engine(url: str, **options: Any) -> sa.Engine:
    """Create an engine for reads. Only SQLite enforces that it does not write."""
    return sa.create_engine(_read_only(url), hide_parameters=True, **options)


def _read_only(url: str) -> sa.URL:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return parsed
    return sa.URL.create("sqlite", database=f"file:{parsed.database}", query={"mode": "ro", "uri": "true"})
