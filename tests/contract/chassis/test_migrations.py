"""The migrations of every service with a database lead to the tables that its code knows (D6)."""

import importlib
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from graphmesh_chassis import effects, migrations
from graphmesh_chassis.database import open_database

ROOT = Path(__file__).parents[3]
FOLDERS = [
    *sorted(folder for folder in ROOT.glob("services/*/*/migrations") if folder.parts[-3] != "chassis"),
    *ROOT.glob("orchestrator/graphmesh_orchestrator/migrations"),
]
EVERY = [pytest.param(folder, id=folder.parts[-3]) for folder in FOLDERS]


def tables(folder: Path) -> sa.MetaData:
    """What the code declares: the `metadata` of the package's `*_sql` modules, and the chassis' own table.

    A module that only names columns, and leaves types to its migrations, has none that is public.
    """
    everything = sa.MetaData()
    modules = [importlib.import_module(f"{folder.parent.name}.{path.stem}") for path in folder.parent.glob("*_sql.py")]
    declared = {id(found): found for module in modules if (found := getattr(module, "metadata", None)) is not None}
    for metadata in declared.values():
        for table in metadata.tables.values():
            table.to_metadata(everything)
    effects.table.to_metadata(everything)
    effects.epochs.to_metadata(everything)
    return everything


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/service.db"


@pytest.mark.parametrize("folder", EVERY)
async def test_migrations_make_the_tables(folder: Path, url: str) -> None:
    """Alembic finds nothing to change between what was migrated and what is declared."""

    def differences(connection: sa.Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": ours})
        return list(compare_metadata(context, declared))

    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or name in declared.tables

    declared = tables(folder)
    async with open_database(url, folder) as database, database.read() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize("folder", EVERY)
async def test_migrating_again_does_nothing(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts on a current schema does not even load alembic."""
    async with open_database(url, folder):
        pass
    monkeypatch.setattr("graphmesh_chassis.database.upgrade", None)
    async with open_database(url, folder):
        pass


@pytest.mark.parametrize("folder", EVERY)
def test_files_are_named_by_their_revisions(folder: Path) -> None:
    """The newest revision can be told from file names; each service has one line of them, under its own name."""
    config = Config()
    config.set_main_option("script_location", str(migrations.HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{migrations.HERE / 'versions'}\n{folder}")
    scripts = ScriptDirectory.from_config(config)
    assert set(scripts.get_heads()) == migrations.heads(folder)
    for script in scripts.walk_revisions():
        assert Path(script.path).stem.startswith(f"{script.revision}_")


async def test_an_old_schema_is_migrated(url: str, tmp_path: Path) -> None:
    """Behind the newest revision alembic is asked."""
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
