"""The settings of the model service."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from graphmesh_chassis.settings import BadSetting, ServerSettings, settings_config
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from graphmesh_model.catalogue import DEFAULT

MODELS = "GRAPHMESH_MODEL_MODELS"
API_KEYS = "GRAPHMESH_MODEL_API_KEYS"
API_KEY_FILES = "GRAPHMESH_MODEL_API_KEY_FILES"
SECRETS = re.compile(r"(^|_)(key|secret|password|token)$")
"""Names of parameters that hold a secret."""
OFFLINE = "offline"
"""Model name of the offline demo composer."""


RESERVED: Mapping[str, str] = {
    "max_retries": "the callers of the service retry, it does not",
    "base_url": "it is a setting beside parameters",
    "model": "it is a setting beside parameters",
}
"""Arguments that parameters must not have, and why."""


class PriceSettings(BaseModel):
    """Prices in millionths of a US dollar for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_micro_usd: int = Field(ge=0)
    output_micro_usd: int = Field(ge=0)
    cached_input_micro_usd: int | None = Field(default=None, ge=0, description="default: as other input")


class ModelSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        pattern=r"^(offline|[a-z][a-z0-9_]*:.+)$", description="offline, or vendor:model as LangChain names it"
    )
    description: str = ""
    fallbacks: tuple[str, ...] = Field(default=(), description="aliases of fallback models, in this order")
    price: PriceSettings | None = None
    base_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="the address of a server that speaks the vendor's protocol; it gets no key but that of the alias",
    )
    parameters: Mapping[str, Any] = Field(
        default={}, description="further arguments of LangChain's chat model, such as timeout or reasoning_effort"
    )

    @field_validator("parameters")
    @classmethod
    def _no_secrets(cls, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in parameters:
            if SECRETS.search(name):
                raise ValueError(f"parameters has {name}: a secret belongs in {API_KEYS}, or in the vendor's variable")
            if name in RESERVED:
                raise ValueError(f"parameters has {name}: {RESERVED[name]}")
        return parameters

    @property
    def vendor(self) -> str:
        return self.model.partition(":")[0]


def _key_in(path: Path) -> SecretStr:
    try:
        return SecretStr(path.read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise BadSetting(f"{API_KEY_FILES}: {path}: {reason}") from None


class Settings(ServerSettings):
    """Read from `GRAPHMESH_MODEL_…`. Objects are JSON.

    A vendor's model with the offline composer behind it, which needs `graphmesh-model[openai]` to be installed
    (docs/models.md has more):

        GRAPHMESH_MODEL_MODELS='{
          "default": {
            "model": "openai:gpt-5",
            "fallbacks": ["demo"],
            "price": {"input_micro_usd": 1250000, "output_micro_usd": 10000000, "cached_input_micro_usd": 125000}
          },
          "demo": {"model": "offline"}
        }'
        GRAPHMESH_MODEL_API_KEYS='{"openai": "sk-…"}'
    """

    model_config = settings_config("GRAPHMESH_MODEL_")

    models: Mapping[str, ModelSettings] = Field(
        default={DEFAULT: ModelSettings(model=OFFLINE)},
        description="the models by alias; one of them is `default`",
    )
    api_keys: Mapping[str, SecretStr] = Field(
        default={}, description="API keys by alias or vendor; no other process gets them"
    )
    api_key_files: Mapping[str, Path] = Field(
        default={}, description="files with an API key each, by alias or vendor, in place of api_keys"
    )

    def keys(self) -> Mapping[str, SecretStr]:
        """Return the keys of both settings. Raises BadSetting where a file cannot be read."""
        return {**{name: _key_in(path) for name, path in self.api_key_files.items()}, **self.api_keys}

    @model_validator(mode="after")
    def _aliases_exist(self) -> Self:
        named = {DEFAULT, *(fallback for model in self.models.values() for fallback in model.fallbacks)}
        if missing := named - set(self.models):
            raise ValueError(f"models has no alias {', '.join(sorted(missing))}")
        return self
