"""The databases with audit logs: those of a state folder, and those that settings of servers name."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from graphmesh_local.readonly_database import connect_read_only
from graphmesh_local.state_folder import StateFolder
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from graphmesh_cli.failures import Failure, usage_error

DATABASE_SETTING = re.compile(r"GRAPHMESH_([A-Z0-9_]+)_DATABASE_URL")


def databases(folder: StateFolder, service: str = "") -> dict[str, str]:
    """Return the URL of each server's database by the server's name; that of `service` alone where it is given."""
    files = {file.stem: f"sqlite:///{file}" for file in sorted(folder.databases.glob("*.db"))}
    settings = {
        match[1].lower(): url for name, url in os.environ.items() if (match := DATABASE_SETTING.fullmatch(name))
    }
    return {name: url for name, url in (files | settings).items() if service in ("", name)}


@contextmanager
def opened(name: str, url: str) -> Iterator[tuple[sa.Connection, Collection[str]]]:
    """Connect with one snapshot of a database; yields the names of its tables too.

    Raises:
        Failure: the database cannot be read, in one line.
    """
    try:
        with connect_read_only(url) as connection:
            yield connection, sa.inspect(connection).get_table_names()
    except ArgumentError as error:
        raise usage_error(f"{url} is no URL of a database: {error}") from None
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        raise Failure(f"{name or 'the database'} cannot be read: {cause}") from None
    except ImportError as error:
        raise usage_error(f"{name or 'the database'} has a driver that is not installed: {error}") from None
