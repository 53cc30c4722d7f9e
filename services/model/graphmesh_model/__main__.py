"""`python -m graphmesh_model` serves the model service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from graphmesh.model.v1 import ModelService, add_ModelServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run

from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.budgets import Clock, utc_now
from graphmesh_model.accounting.ledger import Ledger
from graphmesh_model.accounting.ledger_sql import SqlLedger
from graphmesh_model.catalogue import Catalogue
from graphmesh_model.moderation import Moderation, load_hook
from graphmesh_model.opening import open_catalogue
from graphmesh_model.servicer import ModelServicer
from graphmesh_model.settings import MODERATION, Settings

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings, clock: Clock = utc_now) -> AsyncIterator[Servable]:
    """Build the service over the models of its settings, and the accounts in its database."""
    async with open_catalogue(settings) as catalogue, open_database(settings.database_url, MIGRATIONS) as database:
        ledger = SqlLedger(database, clock)
        async with serving_models(catalogue, ledger, settings, clock) as service:
            yield Servable(
                [service],
                database=database,
                tasks={"accounts": partial(ledger.maintain, settings.usage_days)},
            )
        await ledger.flush()


@asynccontextmanager
async def serving_models(
    catalogue: Catalogue, ledger: Ledger, settings: Settings, clock: Clock = utc_now
) -> AsyncIterator[Service]:
    """Serve the models of a catalogue; attempts that are left at the end are settled before it returns."""
    accounts = Accounts(ledger, settings.all_budgets(), clock)
    moderation = Moderation(load_hook(settings.moderation, MODERATION)) if settings.moderation else None
    servicer = ModelServicer(catalogue, accounts, moderation)
    try:
        yield Service(ModelService, add_ModelServiceServicer_to_server, servicer)
    finally:
        await accounts.close()


def main() -> None:
    run("model", build, Settings)


if __name__ == "__main__":
    main()
