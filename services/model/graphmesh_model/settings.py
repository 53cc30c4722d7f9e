"""The settings of the model service."""

from collections.abc import Mapping
from typing import Any, Self

from graphmesh_chassis.settings import ServerSettings, settings_config
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from graphmesh_model.catalogue import DEFAULT

OFFLINE = "offline"
"""Model name of the offline demo composer."""


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
    parameters: Mapping[str, Any] = Field(
        default={}, description="further arguments of LangChain's chat model: base_url, …"
    )

    @property
    def vendor(self) -> str:
        return self.model.partition(":")[0]


class Settings(ServerSettings):
    """Read from `GRAPHMESH_MODEL_…`. Objects are JSON.

    A vendor's model with the offline composer behind it, which needs `graphmesh-model[openai]` to be installed:

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
    api_keys: Mapping[str, SecretStr] = Field(default={}, description="API keys by vendor; no other process knows them")

    @model_validator(mode="after")
    def _aliases_exist(self) -> Self:
        named = {DEFAULT, *(fallback for model in self.models.values() for fallback in model.fallbacks)}
        if missing := named - set(self.models):
            raise ValueError(f"models has no alias {', '.join(sorted(missing))}")
        return self
