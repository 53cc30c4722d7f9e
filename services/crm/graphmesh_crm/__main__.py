"""Composition root: settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh.crm.v1 import CrmService, add_CrmServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.store import SqlStore, of_customer

from graphmesh_crm.customers_sql import SqlCustomers
from graphmesh_crm.servicer import CrmServicer
from graphmesh_crm.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        servicer = CrmServicer(SqlStore(database, of_customer(SqlCustomers)))
        yield Servable(
            services=[Service(CrmService, add_CrmServiceServicer_to_server, servicer)],
            database=database,
        )


def main() -> None:
    run("crm", build, Settings)


if __name__ == "__main__":
    main()
