"""`python -m graphmesh_model` serves the model service."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from graphmesh.model.v1 import ModelService, add_ModelServiceServicer_to_server
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.settings import BadSetting
from pydantic import SecretStr

from graphmesh_model.catalogue import Catalogue, Entry
from graphmesh_model.domain import FREE, Price
from graphmesh_model.offline_provider import OfflineProvider
from graphmesh_model.provider import Provider
from graphmesh_model.servicer import ModelServicer
from graphmesh_model.settings import MODELS, OFFLINE, ModelSettings, PriceSettings, Settings


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    """Build the service over the models of its settings. It stores nothing, so it opens no database."""
    keys = settings.keys()
    catalogue = Catalogue(_entry(alias, model, keys) for alias, model in settings.models.items())
    yield Servable([Service(ModelService, add_ModelServiceServicer_to_server, ModelServicer(catalogue))])


def _entry(alias: str, model: ModelSettings, keys: Mapping[str, SecretStr]) -> Entry:
    if model.model == OFFLINE:
        return Entry(alias, OfflineProvider(), FREE, model.fallbacks)
    return Entry(alias, _vendor_provider(alias, model, keys), _price(model.price), model.fallbacks)


def _vendor_provider(alias: str, model: ModelSettings, keys: Mapping[str, SecretStr]) -> Provider:
    try:
        from graphmesh_model.vendor_models import open_model  # the offline default must not need LangChain
    except ImportError as error:
        needed = f"the package {(error.name or 'langchain_core').replace('_', '-')} (`make env EXTRAS={model.vendor}`)"
        raise BadSetting(f"{MODELS}: {alias} is {model.model}, which needs {needed}") from error
    return open_model(alias, model, keys)


def _price(price: PriceSettings | None) -> Price | None:
    if price is None:
        return None
    cached = price.input_micro_usd if price.cached_input_micro_usd is None else price.cached_input_micro_usd
    return Price(price.input_micro_usd, price.output_micro_usd, cached)


def main() -> None:
    run("model", build, Settings)


if __name__ == "__main__":
    main()
