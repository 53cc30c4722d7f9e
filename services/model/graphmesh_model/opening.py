"""Opens the models of the settings."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from graphmesh_chassis.rated import open_rates
from graphmesh_chassis.settings import BadSetting
from pydantic import SecretStr

from graphmesh_model.accounting.prices import NO_COST
from graphmesh_model.alias_settings import OFFLINE, EmbeddingSettings, ModelSettings
from graphmesh_model.answer_cache import AnswerCache, CacheLimits
from graphmesh_model.catalogue import Catalogue, Entry, Similar
from graphmesh_model.embedding import EmbeddingEntry
from graphmesh_model.offline_provider import OfflineProvider
from graphmesh_model.provider import Provider
from graphmesh_model.settings import EMBEDDINGS, MODELS, Settings
from graphmesh_model.tiny_model import TINY, require_installed, tiny_server

if TYPE_CHECKING:
    from graphmesh_chassis.rates import Rates

Keys = Mapping[str, SecretStr]


@asynccontextmanager
async def open_catalogue(settings: Settings) -> AsyncIterator[Catalogue]:
    """Open the models of the settings, and the process of the small model where an alias has it.

    Raises:
        BadSetting: one of them cannot be opened.
    """
    keys = settings.keys()
    async with AsyncExitStack() as stack:
        tiny_address = ""
        if tiny := [alias for alias, model in settings.models.items() if model.model == TINY]:
            require_installed(f"{MODELS}: {min(tiny)} is {TINY}")
            tiny_address = await stack.enter_async_context(tiny_server())
        rates = None
        if _has_rates(settings):
            rates = open_rates(settings.redis_url, settings.rate_answer_seconds)
            stack.push_async_callback(rates.close)
        embeddings = {alias: _embedding(alias, model, keys, rates) for alias, model in settings.embeddings.items()}
        for entry in embeddings.values():
            stack.push_async_callback(entry.provider.close)
        shared = keys, tiny_address, embeddings, rates
        entries = [_entry(alias, model, *shared) for alias, model in settings.models.items()]
        yield Catalogue(entries, embeddings.values())


def _has_rates(settings: Settings) -> bool:
    limits = [model.limits for model in settings.models.values()]
    limits += [model.limits for model in settings.embeddings.values()]
    return any(one.rate or one.tenant_rate for one in limits)


def _entry(
    alias: str,
    model: ModelSettings,
    keys: Keys,
    tiny_address: str,
    embeddings: Mapping[str, EmbeddingEntry],
    rates: "Rates | None",
) -> Entry:
    similar = model.cache.similar if model.cache else None
    return Entry(
        alias,
        _provider(alias, model, keys, tiny_address),
        NO_COST if model.is_free and model.price is None else model.prices,
        model.fallbacks,
        model.limits.limits(),
        model.max_output_tokens,
        AnswerCache(CacheLimits(model.cache.seconds, model.cache.max_bytes)) if model.cache else None,
        Similar(embeddings[similar.embeddings], similar.threshold) if similar else None,
        rates,
    )


def _provider(alias: str, model: ModelSettings, keys: Keys, tiny_address: str) -> Provider:
    if model.model == OFFLINE:
        return OfflineProvider()
    vendor_models = _vendor_models(f"{MODELS}: {alias} is {model.model}", model.vendor)
    provider: Provider
    if model.model == TINY:
        provider = vendor_models.open_tiny(alias, model, tiny_address)
    else:
        provider = vendor_models.open_model(alias, model, keys)
    return provider


def _embedding(alias: str, model: EmbeddingSettings, keys: Keys, rates: "Rates | None") -> EmbeddingEntry:
    vendor_models = _vendor_models(f"{EMBEDDINGS}: {alias} is {model.model}", model.vendor)
    embedder = vendor_models.open_embedder(alias, model, keys)
    return EmbeddingEntry(alias, embedder, model.prices, model.limits.limits(), model.max_batch, rates)


def _vendor_models(where: str, vendor: str) -> Any:
    """Return the module of vendors' models. Raises BadSetting where LangChain, which it needs, is not installed."""
    try:
        from graphmesh_model import vendor_models  # the offline default must not need LangChain
    except ImportError as error:
        needed = f"the package {(error.name or 'langchain_core').replace('_', '-')} (`make env EXTRAS={vendor}`)"
        raise BadSetting(f"{where}, which needs {needed}") from error
    return vendor_models
