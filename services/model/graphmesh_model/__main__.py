"""`python -m graphmesh_model` serves the model service."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from graphmesh.model.v1 import ModelService, add_ModelServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.settings import BadSetting
from pydantic import SecretStr

from graphmesh_model.accounting.accounts import Accounts
from graphmesh_model.accounting.ledger import Ledger
from graphmesh_model.accounting.ledger_sql import SqlLedger
from graphmesh_model.accounting.prices import NO_COST
from graphmesh_model.alias_settings import OFFLINE, ModelSettings
from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.offline_provider import OfflineProvider
from graphmesh_model.provider import Provider
from graphmesh_model.servicer import ModelServicer
from graphmesh_model.settings import MODELS, Settings

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    """Build the service over the models of its settings, and the accounts in its database."""
    catalogue = catalogue_of(settings)
    async with open_database(settings.database_url, MIGRATIONS) as database:
        ledger = SqlLedger(database)
        async with serving_models(catalogue, ledger, settings) as service:
            yield Servable(
                [service],
                pings={"database": database.ping},
                tasks={"accounts": partial(ledger.maintain, settings.usage_days)},
            )
        await ledger.flush()


@asynccontextmanager
async def serving_models(catalogue: Catalogue, ledger: Ledger, settings: Settings) -> AsyncIterator[Service]:
    """Serve the models of a catalogue; attempts that are left at the end are settled before it returns."""
    accounts = Accounts(ledger, settings.all_budgets())
    try:
        yield Service(ModelService, add_ModelServiceServicer_to_server, ModelServicer(catalogue, accounts))
    finally:
        await accounts.close()


def catalogue_of(settings: Settings) -> Catalogue:
    """Open the models of the settings. Raises BadSetting where one cannot be opened."""
    keys = settings.keys()
    return Catalogue(_entry(alias, model, keys) for alias, model in settings.models.items())


def _entry(alias: str, model: ModelSettings, keys: Mapping[str, SecretStr]) -> Entry:
    is_offline = model.model == OFFLINE
    provider = OfflineProvider() if is_offline else _vendor_provider(alias, model, keys)
    prices = NO_COST if is_offline else model.prices
    return Entry(alias, provider, prices, model.fallbacks, model.limits.limits(), model.max_output_tokens)


def _vendor_provider(alias: str, model: ModelSettings, keys: Mapping[str, SecretStr]) -> Provider:
    try:
        from graphmesh_model.vendor_models import open_model  # the offline default must not need LangChain
    except ImportError as error:
        needed = f"the package {(error.name or 'langchain_core').replace('_', '-')} (`make env EXTRAS={model.vendor}`)"
        raise BadSetting(f"{MODELS}: {alias} is {model.model}, which needs {needed}") from error
    return open_model(alias, model, keys)


def main() -> None:
    run("model", build, Settings)


if __name__ == "__main__":
    main()
