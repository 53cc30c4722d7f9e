"""The migrations of every service with a database create the tables that its code declares."""

import asyncio
import importlib
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from graphmesh_chassis import audit_chain, audit_log, database, effects, migrations
from graphmesh_chassis.database import open_database

ROOT = Path(__file__).parents[3]
FOLDERS = [
    *sorted(folder for folder in ROOT.glob("services/*/*/migrations") if folder.parts[-3] != "chassis"),
    *ROOT.glob("orchestrator/graphmesh_orchestrator/migrations"),
]
EVERY = [pytest.param(folder, id=folder.parts[-3]) for folder in FOLDERS]


def tables(folder: Path) -> sa.MetaData:
    """The declared tables: of the `metadata` of the package's modules for SQL, and of the chassis.

    A package that only names columns, and leaves types to its migrations, has no public `metadata`.
    """
    everything = sa.MetaData()
    package = folder.parent
    paths = [path for path in package.rglob("*.py") if path.stem.endswith("_sql") or path.stem == "tables"]
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in paths]
    modules = [importlib.import_module(name) for name in names]
    declared = {id(found): found for module in modules if (found := getattr(module, "metadata", None)) is not None}
    for metadata in declared.values():
        for table in metadata.tables.values():
            table.to_metadata(everything)
    effects.table.to_metadata(everything)
    effects.epochs.to_metadata(everything)
    audit_log.table.to_metadata(everything)
    audit_chain.chain.to_metadata(everything)
    return everything


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/service.db"


@pytest.mark.parametrize("folder", EVERY)
async def test_migrations_create_the_declared_tables(folder: Path, url: str) -> None:
    """Alembic finds no difference between the migrated schema and the declared one."""

    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": is_declared})
        return list(compare_metadata(context, declared))

    def is_declared(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or name in declared.tables

    declared = tables(folder)
    async with open_database(url, folder) as database, database.read() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize("folder", EVERY)
async def test_current_schema_is_not_migrated(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts on a current schema does not load alembic."""
    async with open_database(url, folder):
        pass
    monkeypatch.setitem(sys.modules, "alembic", None)  # an import of it fails
    async with open_database(url, folder):
        pass


@pytest.mark.parametrize("folder", EVERY)
def test_files_are_named_by_their_revisions(folder: Path) -> None:
    """File names show the newest revision. Each service has one branch of revisions, with its own name."""
    config = Config()
    config.set_main_option("script_location", str(migrations.HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{migrations.HERE / 'versions'}\n{folder}")
    scripts = ScriptDirectory.from_config(config)
    assert set(scripts.get_heads()) == migrations.heads(folder)
    for script in scripts.walk_revisions():
        assert Path(script.path).stem.startswith(f"{script.revision}_")


async def test_old_schema_is_migrated(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    async with open_database(url, folder):
        pass
    (folder / "shop_0001_first.py").write_text(
        'revision, down_revision, branch_labels, depends_on = "shop_0001", None, ("shop",), None\n\n\n'
        'def upgrade():\n    from alembic import op\n\n    op.execute("CREATE TABLE orders (id int)")\n'
    )
    async with open_database(url, folder) as database, database.read() as connection:
        assert await connection.run_sync(lambda sync: sa.inspect(sync).has_table("orders"))


async def test_a_replica_waits_while_another_one_migrates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than its transactions wait for a writer later."""
    monkeypatch.setattr(database, "BUSY_MS", 1)
    url = f"sqlite+aiosqlite:///{tmp_path}/service.db"
    async with database.open_database(url) as created:
        await created.rows(sa.select(sa.literal_column("1")))
    with closing(sqlite3.connect(tmp_path / "service.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        starting = asyncio.create_task(started(url))
        await asyncio.wait([starting], timeout=0.5)
        assert not starting.done()
        other.execute("ROLLBACK")
        assert await starting == [(1,)]


async def started(url: str) -> list[tuple[int]]:
    """Start as a replica does, and return what the database answers."""
    async with database.open_database(url, FOLDERS[0]) as migrated:
        return [tuple(row) for row in await migrated.rows(sa.select(sa.literal_column("1")))]
