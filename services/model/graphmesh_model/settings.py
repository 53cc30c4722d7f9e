"""The settings of the model service."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from graphmesh_chassis.settings import BadSetting, DatabaseUrl, SecretUrl, ServerSettings, settings_config
from pydantic import Field, SecretStr, StringConstraints, model_validator

from graphmesh_model.accounting.budgets import RUN, Budget, Period, Scope
from graphmesh_model.alias_settings import KEYS, OFFLINE, EmbeddingSettings, Frozen, ModelSettings
from graphmesh_model.catalogue import DEFAULT

MODELS = "GRAPHMESH_MODEL_MODELS"
MODERATION = "GRAPHMESH_MODEL_MODERATION"
EMBEDDINGS = "GRAPHMESH_MODEL_EMBEDDINGS"
API_KEYS = KEYS
API_KEY_FILES = "GRAPHMESH_MODEL_API_KEY_FILES"
DAYS_OF_USAGE = 400
BudgetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$")]


class BudgetSettings(Frozen):
    """A limit of what models may cost or read and write, for each run, for each tenant or for the whole service."""

    scope: Scope
    period: Period = Period.DAY
    max_cost_micro_usd: int = Field(default=0, ge=0, le=10**18, description="0: no limit")
    max_tokens: int = Field(default=0, ge=0, le=10**18, description="of input and output; 0: no limit")
    tenants: frozenset[str] = Field(default=frozenset(), description="empty: all tenants, each with its own account")
    aliases: frozenset[str] = Field(default=frozenset(), description="empty: all aliases together")

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if not self.max_cost_micro_usd and not self.max_tokens:
            raise ValueError("has neither max_cost_micro_usd nor max_tokens")
        return self

    def budget(self, name: str) -> Budget:
        return Budget(
            name, self.scope, self.period, self.max_cost_micro_usd, self.max_tokens, self.tenants, self.aliases
        )


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

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///.graphmesh/model.db")
    models: Mapping[str, ModelSettings] = Field(
        default={DEFAULT: ModelSettings(model=OFFLINE)},
        description="the models by alias; one of them is `default`",
    )
    embeddings: Mapping[str, EmbeddingSettings] = Field(
        default={}, description="the models for embeddings by alias; `default` is that of a request without one"
    )
    budgets: Mapping[BudgetName, BudgetSettings] = Field(
        default={}, description="limits of cost and tokens, by a name that refusals state"
    )
    moderation: str = Field(
        default="",
        pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$",
        description="module:function, an asynchronous function that refuses prompts and answers",
    )
    usage_days: int = Field(default=DAYS_OF_USAGE, ge=2, le=36_500, description="days for which usage is kept")
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
        if both := set(self.models) & set(self.embeddings) - {DEFAULT}:
            raise ValueError(f"models and embeddings have the same alias {min(both)}")
        named = {DEFAULT, *(fallback for model in self.models.values() for fallback in model.fallbacks)}
        if missing := named - set(self.models):
            raise ValueError(f"models has no alias {', '.join(sorted(missing))}")
        return self

    @model_validator(mode="after")
    def _similar_prompts_can_be_found(self) -> Self:
        for alias, model in self.models.items():
            similar = model.cache.similar if model.cache else None
            if similar and similar.embeddings not in self.embeddings:
                raise ValueError(
                    f"models.{alias}.cache.similar needs embeddings, and {EMBEDDINGS} has no alias {similar.embeddings}"
                )
        return self

    @model_validator(mode="after")
    def _budgets_can_be_kept(self) -> Self:
        aliases: dict[str, ModelSettings | EmbeddingSettings] = {**self.embeddings, **self.models}
        for name, budget in self.budgets.items():
            if name == RUN:
                raise ValueError(f"budgets has {RUN}, the name of the limits that a run itself has")
            if unknown := budget.aliases - set(aliases):
                raise ValueError(f"budgets.{name}.aliases has {', '.join(sorted(unknown))}, which is no alias")
            held = budget.aliases or set(aliases)
            unpriced = [one for one in held if not aliases[one].is_free and aliases[one].price is None]
            if budget.max_cost_micro_usd and unpriced:
                raise ValueError(f"budgets.{name} limits cost, and the alias {min(unpriced)} has no price")
        return self

    def all_budgets(self) -> Sequence[Budget]:
        return [settings.budget(name) for name, settings in self.budgets.items()]
