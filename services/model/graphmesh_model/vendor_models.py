"""Opens vendors' models by the settings of their aliases."""

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from typing import Any

from graphmesh_chassis.settings import BadSetting
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, ValidationError

from graphmesh_model.alias_settings import EmbeddingSettings, ModelSettings
from graphmesh_model.langchain_embedder import LangchainEmbedder
from graphmesh_model.langchain_provider import NO_OPTIONS, LangchainProvider
from graphmesh_model.settings import API_KEYS, EMBEDDINGS, MODELS
from graphmesh_model.tiny_model import DESCRIPTION

KEY_VARIABLES: Mapping[str, str] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "cohere": "COHERE_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "google_genai": "GOOGLE_API_KEY",
    "groq": "GROQ_API_KEY",
    "mistralai": "MISTRAL_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "together": "TOGETHER_API_KEY",
    "xai": "XAI_API_KEY",
}
"""Vendors without whose key no call succeeds, with the variable that their LangChain package reads."""
EMBEDDER_ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    # Texts are sent as they are: LangChain would count their tokens with a vocabulary that it downloads.
    "openai": {"max_retries": 0, "check_embedding_ctx_length": False},
}
CACHE_PROMPTS: Mapping[str, Any] = {"cache_control": {"type": "ephemeral"}}
"""Lets Anthropic cache a prompt up to its last message."""
OWN_ADDRESS: Mapping[str, Mapping[str, Any]] = {
    # Servers that speak OpenAI's protocol have its older API, and report usage in streams on request only.
    "openai": {"use_responses_api": False, "stream_usage": True},
}
"""Arguments of models at an address of their own, by vendor."""
IMPORTED_LATE: Mapping[str, Sequence[str]] = {"openai": ("openai.resources.beta.beta",)}
"""Modules that a vendor's package imports in a call, where their second of work would stop all other calls."""
NO_KEY = SecretStr("none")
"""For an address of its own without a key: the vendor's key is not sent there."""
PACKAGE = re.compile(r"langchain[\w-]*")
UNKNOWN_PARAMETER = " is not default parameter"
"""LangChain's warning begins with a shout and the parameter's name."""


def open_model(alias: str, model: ModelSettings, api_keys: Mapping[str, SecretStr]) -> LangchainProvider:
    """Open the model of an alias.

    Raises:
        BadSetting: its package or its key is missing, or its parameters are not those of its class.
    """
    vendor, _, name = model.model.partition(":")
    where = f"{MODELS}: {alias} is {model.model}"
    key = _key(alias, model, api_keys)
    needs = [] if key is not None or vendor not in KEY_VARIABLES else [_key_needed(vendor)]
    given = {"api_key": key or NO_KEY} if key is not None or vendor in KEY_VARIABLES else {}
    address = {"base_url": model.base_url, **OWN_ADDRESS.get(vendor, {})} if model.base_url else {}
    try:
        with _known_parameters(where):
            chat = _chat_model(vendor, name, {**address, **model.parameters, **given})
    except ImportError as error:
        raise BadSetting(_needing(where, _package_needed(vendor, error), *needs)) from error
    except BadSetting:
        raise
    except Exception as error:
        raise BadSetting(f"{where}, which cannot be opened: {_cause(error)}") from None
    if needs:
        raise BadSetting(_needing(where, *needs))
    options = CACHE_PROMPTS if model.prompt_cache else NO_OPTIONS
    return LangchainProvider(chat, vendor, name, model.description, options)


def open_tiny(alias: str, model: ModelSettings, address: str) -> LangchainProvider:
    """Open the small model behind its server's address. Raises BadSetting."""
    vendor, _, name = model.model.partition(":")
    where = f"{MODELS}: {alias} is {model.model}"
    try:
        direct = {"http_async_client": import_module("openai").DefaultAsyncHttpxClient(trust_env=False)}
        arguments = {"base_url": address, **OWN_ADDRESS["openai"], **direct, **model.parameters, "api_key": NO_KEY}
        with _known_parameters(where):
            chat = _chat_model("openai", name, arguments)
    except ImportError as error:
        raise BadSetting(_needing(where, _package_needed("tiny", error))) from error
    return LangchainProvider(chat, vendor, name, model.description or DESCRIPTION)


def open_embedder(alias: str, model: EmbeddingSettings, api_keys: Mapping[str, SecretStr]) -> LangchainEmbedder:
    """Open the model of an alias of embeddings.

    Raises:
        BadSetting: as `open_model`.
    """
    vendor, _, name = model.model.partition(":")
    where = f"{EMBEDDINGS}: {alias} is {model.model}"
    key = _key(alias, model, api_keys)
    if key is None and vendor in KEY_VARIABLES:
        raise BadSetting(_needing(where, _key_needed(vendor)))
    given: dict[str, Any] = {"api_key": key} if key else {}
    given |= {"base_url": model.base_url} if model.base_url else {}
    given |= EMBEDDER_ARGUMENTS.get(vendor, {})
    client = import_module("openai").DefaultAsyncHttpxClient() if vendor == "openai" else None
    if client:
        import_module("graphmesh_model.bounded_http").bound_responses(client)
    given |= {"http_async_client": client} if client else {}
    try:
        init_embeddings = import_module("langchain.embeddings").init_embeddings
        with _known_parameters(where):
            made = init_embeddings(name, provider=vendor, **given, **model.parameters)
    except ImportError as error:
        raise BadSetting(_needing(where, _package_needed(vendor, error))) from error
    except BadSetting:
        raise
    except Exception as error:
        raise BadSetting(f"{where}, which cannot be opened: {_cause(error)}") from None
    return LangchainEmbedder(made, vendor, name, client.aclose if client else None)


def _chat_model(vendor: str, name: str, arguments: Mapping[str, Any]) -> BaseChatModel:
    """Raises ImportError where LangChain, or its package for the vendor, is not installed."""
    init_chat_model = import_module("langchain.chat_models").init_chat_model
    chat: BaseChatModel
    if vendor == "openai" and "base_url" in arguments:
        compatible = import_module("graphmesh_model.openai_compatible").OpenAICompatible
        chat = compatible(model=name, max_retries=0, **arguments)
    else:
        chat = init_chat_model(name, model_provider=vendor, max_retries=0, **arguments)
    for module in IMPORTED_LATE.get(vendor, ()):
        import_module(module)
    _bound_responses(chat)
    return chat


def _bound_responses(chat: Any) -> None:
    """Bound what a model's HTTP client reads. Clients of other packages than these two bound their answers, or not."""
    vendor_client = getattr(chat, "root_async_client", None) or getattr(chat, "_async_client", None)
    client = getattr(vendor_client, "_client", None)
    if client is not None and hasattr(client, "event_hooks"):
        import_module("graphmesh_model.bounded_http").bound_responses(client)


def _needing(where: str, *needs: str) -> str:
    return f"{where}, which needs {' and '.join(needs)}"


def _key(alias: str, model: ModelSettings | EmbeddingSettings, api_keys: Mapping[str, SecretStr]) -> SecretStr | None:
    """Return the key of an alias: its own, else that of its vendor, but never at an address of its own."""
    if alias in api_keys:
        return api_keys[alias]
    if model.base_url:
        return NO_KEY if model.vendor in KEY_VARIABLES else None
    variable = os.environ.get(KEY_VARIABLES.get(model.vendor, ""))
    return api_keys.get(model.vendor) or (SecretStr(variable) if variable else None)


def _key_needed(vendor: str) -> str:
    return f'a key ({KEY_VARIABLES[vendor]}, or {API_KEYS}=\'{{"{vendor}": "…"}}\')'


def _package_needed(vendor: str, error: ImportError) -> str:
    named = PACKAGE.search(str(error))
    package = named[0].replace("_", "-") if named else "langchain"
    extra = vendor.replace("_", "-")
    if extra in (metadata.metadata("graphmesh-model").get_all("Provides-Extra") or ()):
        return f"the package {package} (`make env EXTRAS={extra}`, or graphmesh-model[{extra}])"
    return f"the package {package} in the environment of the model service"


@contextmanager
def _known_parameters(where: str) -> Iterator[None]:
    """Refuse parameters that LangChain would only warn of, and send to the vendor. Raises BadSetting."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = [str(warning.message) for warning in caught]
    unknown = [text.partition(UNKNOWN_PARAMETER)[0].split()[-1] for text in texts if UNKNOWN_PARAMETER in text]
    if unknown:
        raise BadSetting(
            f"{where}, whose class has no parameter {', '.join(unknown)}: what only the vendor's API "
            "has belongs in model_kwargs"
        )


def _cause(error: Exception) -> str:
    """Return one line, without values: one of them may be a key."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return str(error).partition("\n")[0]
