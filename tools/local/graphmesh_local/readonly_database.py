"""Databases of services, read past the code that wrote them, without being able to write."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url


@contextmanager
def reading(url: str) -> Iterator[sa.Connection]:
    """A connection that reads one state of the database. An SQLite file that is not there is not made."""
    engine = reader(url, poolclass=sa.NullPool)
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect() as connection:
        yield connection.execution_options(**options) if engine.dialect.name == "postgresql" else connection


def reader(url: str, **options: Any) -> sa.Engine:
    """An engine for reads; only SQLite refuses it to write."""
    return sa.create_engine(_read_only(url), hide_parameters=True, **options)


def _read_only(url: str) -> sa.URL:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return parsed
    return sa.URL.create("sqlite", database=f"file:{parsed.database}", query={"mode": "ro", "uri": "true"})
