"""The settings of one alias."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self

from graphmesh_contracts import Rate
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from graphmesh_model.accounting.prices import UNKNOWN, Price, Prices
from graphmesh_model.circuit import BreakerLimits
from graphmesh_model.gate import GateLimits
from graphmesh_model.tiny_model import TINY

SECRETS = re.compile(r"(^|_)(key|secret|password|token)$")
"""Names of parameters that hold a secret."""
OFFLINE = "offline"
"""Model name of the offline demo composer."""
KEYS = "GRAPHMESH_MODEL_API_KEYS"

RESERVED: Mapping[str, str] = {
    "max_retries": "the callers of the service retry, it does not",
    "base_url": "it is a setting beside parameters",
    "model": "it is a setting beside parameters",
}
"""Arguments that parameters must not have, and why."""
MAX_MICRO_USD = 10**12


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PriceSettings(Frozen):
    """Prices in millionths of a US dollar for a million tokens."""

    since: date = Field(default=date.min, description="the first day of the price, in UTC")
    input_micro_usd: int = Field(ge=0, le=MAX_MICRO_USD)
    output_micro_usd: int = Field(ge=0, le=MAX_MICRO_USD)
    cached_input_micro_usd: int | None = Field(
        default=None, ge=0, le=MAX_MICRO_USD, description="default: as other input"
    )
    cache_written_input_micro_usd: int | None = Field(
        default=None, ge=0, le=MAX_MICRO_USD, description="of input that the vendor writes to its cache; as other input"
    )
    reasoning_output_micro_usd: int | None = Field(
        default=None, ge=0, le=MAX_MICRO_USD, description="default: as other output"
    )
    image_micro_usd: int = Field(default=0, ge=0, le=MAX_MICRO_USD, description="of one image, beside its tokens")

    def price(self) -> Price:
        read, written = self.input_micro_usd, self.output_micro_usd
        cached, cache_written = self.cached_input_micro_usd, self.cache_written_input_micro_usd
        reasoning = self.reasoning_output_micro_usd
        return Price(
            input_micro_usd=read,
            output_micro_usd=written,
            cached_input_micro_usd=read if cached is None else cached,
            cache_written_input_micro_usd=read if cache_written is None else cache_written,
            reasoning_output_micro_usd=written if reasoning is None else reasoning,
            image_micro_usd=self.image_micro_usd,
        )


def prices_of(price: PriceSettings | tuple[PriceSettings, ...] | None) -> Prices:
    if price is None:
        return UNKNOWN
    given = (price,) if isinstance(price, PriceSettings) else price
    return Prices([(each.since, each.price()) for each in given])


def _no_secrets(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in parameters:
        if SECRETS.search(name):
            raise ValueError(f"parameters has {name}: a secret belongs in {KEYS}, or in the vendor's variable")
        if name in RESERVED:
            raise ValueError(f"parameters has {name}: {RESERVED[name]}")
    return parameters


Parameters = Annotated[Mapping[str, Any], AfterValidator(_no_secrets)]


class RateSettings(Frozen):
    """Calls in any window, over all replicas that share a Redis."""

    calls: int = Field(ge=1, le=100_000)
    seconds: int = Field(default=60, ge=1, le=86_400)
    failure_mode: Literal["open", "closed"] = Field(
        default="open", description="while Redis does not answer each replica counts alone, or calls are refused"
    )

    def limit(self) -> Rate:
        return Rate(self.calls, self.seconds, self.failure_mode == "closed")


class BreakerSettings(Frozen):
    failures: int = Field(default=BreakerLimits.failures, ge=1, le=1000)
    cooling_seconds: float = Field(default=BreakerLimits.cooling_seconds, gt=0, le=3600)
    max_cooling_seconds: float = Field(default=BreakerLimits.max_cooling_seconds, gt=0, le=3600)


class LimitSettings(Frozen):
    """The limits of one alias: its rates over all replicas, the others in one."""

    max_concurrency: int = Field(default=GateLimits.max_concurrency, ge=1, le=10_000)
    max_queue: int = Field(default=GateLimits.max_queue, ge=0, le=100_000)
    rate: RateSettings | None = Field(default=None, description="calls of all tenants together")
    tenant_rate: RateSettings | None = Field(default=None, description="calls of each tenant")
    breaker: BreakerSettings = BreakerSettings()
    first_token_seconds: float = Field(default=GateLimits.first_token_seconds, gt=0, le=3600)
    between_tokens_seconds: float = Field(default=GateLimits.between_tokens_seconds, gt=0, le=3600)
    answer_seconds: float | None = Field(default=None, gt=0, le=3600, description="of an answer that is not streamed")
    hedge_after_seconds: float | None = Field(
        default=None, gt=0, le=3600, description="without an answer by then, a fallback is called beside it"
    )

    def limits(self) -> GateLimits:
        given = self.model_dump(exclude={"rate", "tenant_rate", "breaker"})
        return GateLimits(
            **given,
            rate=self.rate.limit() if self.rate else None,
            tenant_rate=self.tenant_rate.limit() if self.tenant_rate else None,
            breaker=BreakerLimits(**self.breaker.model_dump()),
        )


class EmbeddingSettings(Frozen):
    """The settings of one alias of embeddings."""

    model: str = Field(pattern=r"^[a-z][a-z0-9_]*:.+$", description="vendor:model as LangChain names it")
    base_url: str = Field(default="", pattern=r"^(https?://\S+)?$", description="as that of a model")
    price: PriceSettings | tuple[PriceSettings, ...] | None = None
    limits: LimitSettings = LimitSettings()
    max_batch: int = Field(default=256, ge=1, le=1000, description="texts in one call of the vendor")
    parameters: Parameters = Field(default={}, description="further arguments of LangChain's class")

    @property
    def vendor(self) -> str:
        return self.model.partition(":")[0]

    @property
    def is_free(self) -> bool:
        return False

    @property
    def prices(self) -> Prices:
        return prices_of(self.price)

    @model_validator(mode="after")
    def _limits_are_honoured(self) -> Self:
        if self.limits.hedge_after_seconds is not None:
            raise ValueError("limits has hedge_after_seconds, and embeddings have no fallbacks")
        return self


class SimilarSettings(Frozen):
    """Answers are shared by prompts whose last messages are similar."""

    threshold: float = Field(ge=0.5, lt=1, description="the least cosine of the embeddings of the messages")
    embeddings: str = Field(default="default", description="the alias of the embeddings")


class CacheSettings(Frozen):
    seconds: float = Field(gt=0, le=30 * 86_400, description="the time for which an answer is kept")
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, le=4 * 1024**3, description="in each replica")
    similar: SimilarSettings | None = Field(default=None, description="None: only prompts that are equal share answers")


class ModelSettings(Frozen):
    model: str = Field(
        pattern=r"^(offline|[a-z][a-z0-9_]*:.+)$", description="offline, or vendor:model as LangChain names it"
    )
    description: str = ""
    fallbacks: tuple[str, ...] = Field(default=(), description="aliases of fallback models, in this order")
    price: PriceSettings | tuple[PriceSettings, ...] | None = Field(
        default=None, description="a price, or several with the days that they begin on"
    )
    limits: LimitSettings = LimitSettings()
    cache: CacheSettings | None = Field(default=None, description="answers to equal prompts of a tenant are repeated")
    prompt_cache: bool = Field(default=False, description="have the vendor cache the beginning of prompts (anthropic)")
    max_output_tokens: int = Field(
        default=4096, ge=1, le=1_000_000, description="what a budget reserves for an answer without a maximum"
    )
    base_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="the address of a server that speaks the vendor's protocol; it gets no key but that of the alias",
    )
    parameters: Parameters = Field(
        default={}, description="further arguments of LangChain's chat model, such as timeout or reasoning_effort"
    )

    @model_validator(mode="after")
    def _hedging_has_a_fallback(self) -> Self:
        if self.limits.hedge_after_seconds is not None and not self.fallbacks:
            raise ValueError("limits has hedge_after_seconds, and fallbacks is empty")
        return self

    @model_validator(mode="after")
    def _small_model_is_known(self) -> Self:
        if self.vendor == TINY.partition(":")[0] and (self.model != TINY or self.base_url):
            raise ValueError(f"the small model is {TINY}, without a base_url")
        return self

    @model_validator(mode="after")
    def _prompt_cache_is_honoured(self) -> Self:
        if self.prompt_cache and self.vendor != "anthropic":
            raise ValueError("prompt_cache is for anthropic: other vendors cache without being asked, or not at all")
        return self

    @property
    def vendor(self) -> str:
        return self.model.partition(":")[0]

    @property
    def is_free(self) -> bool:
        """Whether it runs on this machine, and costs nothing where it has no price."""
        return self.model in (OFFLINE, TINY)

    @property
    def prices(self) -> Prices:
        return prices_of(self.price)
