"""Settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh.sql.v1 import SqlService, add_SqlServiceServicer_to_server
from graphmesh_chassis.serve import Servable, Service, run

from graphmesh_sql.sample import make_sample
from graphmesh_sql.servicer import SqlServicer
from graphmesh_sql.settings import Settings
from graphmesh_sql.warehouse import Warehouse
from graphmesh_sql.warehouse_postgres import PostgresWarehouse
from graphmesh_sql.warehouse_sqlite import SqliteWarehouse


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    warehouse = open_warehouse(settings)
    servicer = SqlServicer(warehouse, settings.max_rows)
    yield Servable(
        services=[Service(SqlService, add_SqlServiceServicer_to_server, servicer)],
        pings={"target": warehouse.ping},
    )


def open_warehouse(settings: Settings) -> Warehouse:
    """Open the target database, or the sample if no target is configured."""
    if settings.target_url.startswith("postgresql"):
        return PostgresWarehouse(settings.target_url, settings.max_cost)
    if settings.target_url:
        return SqliteWarehouse(Path(settings.target_url.removeprefix("sqlite:///")), settings.max_steps)
    make_sample(Path(settings.sample))
    return SqliteWarehouse(Path(settings.sample), settings.max_steps)


def main() -> None:
    run("sql", build, Settings)


if __name__ == "__main__":
    main()
