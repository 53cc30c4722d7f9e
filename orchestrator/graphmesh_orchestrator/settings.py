"""The settings of the orchestrator."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from graphmesh_chassis.call_tokens import CallSigner
from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, readable, reveal, settings_config
from graphmesh_contracts import Overrides, Rate, parse_rate
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import NoDecode
from sqlalchemy.engine import make_url

from graphmesh_orchestrator.budgets.budget import DailyBudget
from graphmesh_orchestrator.leases.leases import MAX_TAKEOVERS
from graphmesh_orchestrator.webhooks.delivery import secret_bytes

BudgetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$")]


def _tool_policies(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {service: Overrides(**overrides) for service, overrides in json.loads(value or "{}").items()}


def _graph_rates(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    rates = json.loads(value or "{}")
    if not isinstance(rates, dict) or not all(isinstance(rate, dict) for rate in rates.values()):
        raise ValueError("has to be an object of rates, by the names of graphs")
    return {graph: parse_rate(rate, f"the rate of {graph}") for graph, rate in rates.items()}


def _call_key(value: Path | None) -> Path | None:
    if value:
        readable(value, CallSigner)
    return value


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_ORCHESTRATOR_")

    database_url: DatabaseUrl = Field(
        default=SecretUrl("sqlite+aiosqlite:///.graphmesh/orchestrator.db"),
        description="SQLAlchemy URL of the database of runs, events and checkpoints",
    )
    mesh: str = Field(default="127.0.0.1:8081", description="host:port of Envoy's mesh listener")
    call_key: Annotated[Path | None, AfterValidator(_call_key)] = Field(
        default=None, description="a PEM file with the private key (EC, P-256) that signs the calls of services"
    )
    redis_url: SecretUrl = Field(
        default=SecretUrl(""),
        description="redis://… for notifications between processes and for rates; empty: each polls, and counts alone",
    )
    role: Literal["all", "api", "worker"] = Field(
        default="all", description="api: serves calls and executes no runs; worker: executes runs and serves no calls"
    )
    capacity: int = Field(default=200, ge=1, description="runs that are executed at the same time")
    executes: frozenset[str] = Field(
        default=frozenset(), description="the graphs whose runs this process executes, as JSON; empty: all"
    )
    memory_bytes: int = Field(
        default=0, ge=0, description="the address space of the process; an allocation beyond it fails; 0: no limit"
    )
    max_takeovers: int = Field(
        default=MAX_TAKEOVERS,
        ge=1,
        description="takeovers of a run in a row without a new checkpoint; the next one ends it: RUN_POISONED",
    )
    stop_seconds: float = Field(
        default=3,
        gt=0,
        description="a run that is cancelled or exceeds its deadline ends after so long, even if its nodes continue",
    )
    max_waiting: int = Field(
        default=10_000, ge=1, description="pending runs of one tenant; a further one is refused with QUEUE_FULL"
    )
    max_assistants: int = Field(
        default=1000, ge=1, description="assistants of one tenant; a further one is refused with RESOURCE_LIMIT"
    )
    max_schedules: int = Field(
        default=1000, ge=1, description="schedules of one tenant; a further one is refused with RESOURCE_LIMIT"
    )
    schedule_interval_seconds: int = Field(
        default=60, ge=1, description="the least time between two ticks of a schedule with an interval"
    )
    graphs: Path = Field(default=Path("langgraph.json"), description="the langgraph.json of the graphs")
    roles: Path | None = Field(
        default=None, description="the graphs and tools of roles: the file that graphmesh render roles writes"
    )
    without: frozenset[str] = Field(
        default=frozenset(),
        description="keys of langgraph.json that are not honoured, as JSON: the graphs run without them",
    )
    standby: Path | None = Field(
        default=None, description="a file to create when the graphs are loaded; the process serves when it is deleted"
    )
    thread_ttl_seconds: float = Field(
        default=0,
        ge=0,
        description="a thread that states no time to live is deleted so long after its last use; 0: never",
    )
    run_retention_seconds: float = Field(
        default=0, ge=0, description="a run is deleted so long after its end, with its events; 0: with its thread"
    )
    artifact_bytes: int = Field(
        default=64 * 1024, ge=1024, description="a larger value of a state is stored once, and referenced"
    )
    max_state_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="a checkpoint with larger values fails its run: STATE_TOO_LARGE",
    )
    webhook_hosts: Sequence[str] = Field(
        default=(),
        description='hosts that webhooks may call, as JSON: ["hooks.example.com", "*.example.org"]',
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="whsec_… and Base64: signs webhooks; required with webhook_hosts"
    )
    webhook_attempts: int = Field(
        default=15, ge=1, le=100, description="attempts of a delivery; with backoff, 15 take a working day"
    )
    trace_slow_seconds: float = Field(
        default=30, ge=0, description="a run that takes longer is traced, whether or not it is sampled; 0: however long"
    )
    trace_cost_usd: float = Field(
        default=1,
        ge=0,
        description="a run that costs more is traced, whether or not it is sampled; 0: whatever it costs",
    )
    tool_policies: Annotated[Mapping[str, Overrides], NoDecode, BeforeValidator(_tool_policies)] = Field(
        default_factory=dict, description="overrides of the policies of tools, as JSON, by the service's full name"
    )
    graph_rates: Annotated[Mapping[str, Rate], NoDecode, BeforeValidator(_graph_rates)] = Field(
        default_factory=dict,
        description="the rate of runs that each tenant may create of a graph, as JSON, by its name",
    )
    budgets: Mapping[BudgetName, DailyBudget] = Field(
        default={}, description="what the runs of each tenant may use in a day, as JSON, by a name that refusals state"
    )

    @property
    def is_alone(self) -> bool:
        """Whether no other process can use the database: a SQLite file belongs to one."""
        return make_url(reveal(self.database_url)).get_backend_name() == "sqlite"

    @property
    def webhook_key(self) -> bytes:
        """Empty where no host is allowed."""
        return secret_bytes(self.webhook_secret.get_secret_value()) if self.webhook_hosts else b""

    @model_validator(mode="after")
    def _names_of_budgets_are_free(self) -> Self:
        if "run" in self.budgets:
            raise ValueError("budgets has run, the name of the limits that a run itself has")
        return self

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Self:
        _ = self.webhook_key  # raises
        return self
