"""Schema migrations by alembic: of the chassis' own tables and of those of the service.

A revision's file is named by its id, `<base>_<number>`, and a description: `billing_0001_initial.py`.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HERE = Path(__file__).parent
LOCK = 0x67726170686D
"""The PostgreSQL advisory lock under which one replica migrates at a time; the letters of "graphm"."""


def is_current(connection: Connection, migrations: Path) -> bool:
    """Whether chassis and service are at their newest revisions, by file names, since alembic is slow to load."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    return set(connection.scalars(text("SELECT version_num FROM alembic_version"))) == heads(migrations)


def heads(migrations: Path) -> set[str]:
    """The newest revisions of the chassis and of the service."""
    newest = (max((path.stem for path in folder.glob("*_*_*.py")), default="") for folder in _folders(migrations))
    return {"_".join(name.split("_")[:2]) for name in newest if name}


def upgrade(connection: Connection, migrations: Path) -> None:
    """Upgrade chassis and service to their heads, in the present transaction of `connection`.

    They are two bases of one history: neither refers to the other's revisions.
    """
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    locations = "\n".join(str(path) for path in _folders(migrations))
    config.set_main_option("version_locations", locations.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


def _folders(migrations: Path) -> tuple[Path, Path]:
    return HERE / "versions", migrations
