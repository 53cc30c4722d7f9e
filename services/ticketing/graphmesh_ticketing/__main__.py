"""Composition root: settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh.ticketing.v1 import TicketingService, add_TicketingServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.store import SqlStore, of_customer

from graphmesh_ticketing.servicer import TicketingServicer
from graphmesh_ticketing.settings import Settings
from graphmesh_ticketing.tickets_sql import SqlTickets

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        servicer = TicketingServicer(SqlStore(database, of_customer(SqlTickets)))
        yield Servable(
            services=[Service(TicketingService, add_TicketingServiceServicer_to_server, servicer)],
            database=database,
        )


def main() -> None:
    run("ticketing", build, Settings)


if __name__ == "__main__":
    main()
