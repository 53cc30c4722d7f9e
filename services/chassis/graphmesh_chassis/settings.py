"""The settings of a server: read once from the environment and the command line, frozen, with units in names."""

from typing import Annotated, Any, Literal

from graphmesh_contracts import Overrides
from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from graphmesh_chassis.identity import IdentityMode


def settings_config(prefix: str) -> SettingsConfigDict:
    """The configuration of a settings class whose environment variables begin with `prefix`."""
    return SettingsConfigDict(
        env_prefix=prefix, frozen=True, extra="forbid", cli_kebab_case=True, cli_hide_none_type=True
    )


def _overrides(value: Any) -> Any:
    return Overrides.parse(value) if isinstance(value, str) else value


class ServerSettings(BaseSettings):
    """What every server can be told. A service subclasses it with its own prefix, `GRAPHMESH_<SERVICE>_`."""

    model_config = settings_config("GRAPHMESH_")

    listen: str = Field(default="127.0.0.1:0", description="host:port to listen on; port 0 takes a free one")
    policy: Annotated[Overrides, NoDecode, BeforeValidator(_overrides)] = Field(
        default=Overrides(), description="overrides of the policies in the proto, as JSON"
    )
    identity: IdentityMode = Field(default="open", description="open: calls without identity are the local developer's")
    drain_seconds: float = Field(
        default=10.0, ge=0, le=3600, description="how long calls may go on after the first signal"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    traces: Literal["off", "console", "otlp"] = Field(default="off", description="where spans go")
    otlp_endpoint: str = Field(default="http://127.0.0.1:4317", description="the OTLP/gRPC collector, for traces=otlp")
    trace_ratio: float = Field(
        default=0.1, ge=0, le=1, description="the share of calls without a traceparent that are traced"
    )
