"""Schema migrations: the chassis' own tables and those of the service that stands on it, by alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

HERE = Path(__file__).parent
LOCK = 0x67726170686D
"""The PostgreSQL advisory lock that lets one replica migrate at a time; the letters of "graphm"."""


def upgrade(connection: Connection, migrations: Path) -> None:
    """Upgrade to the heads of both, in the transaction that `connection` is in.

    The chassis and the service are two bases of one history: neither has to know the other's revisions.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    locations = "\n".join(str(path) for path in (HERE / "versions", migrations))
    config.set_main_option("version_locations", locations.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")
