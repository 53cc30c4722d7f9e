"""Composition root: settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh.billing.v1 import BillingService, add_BillingServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.store import SqlStore, of_customer

from graphmesh_billing.ledger_sql import SqlLedger
from graphmesh_billing.servicer import BillingServicer
from graphmesh_billing.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        servicer = BillingServicer(SqlStore(database, of_customer(SqlLedger)))
        yield Servable(
            services=[Service(BillingService, add_BillingServiceServicer_to_server, servicer)],
            database=database,
        )


def main() -> None:
    run("billing", build, Settings)


if __name__ == "__main__":
    main()
