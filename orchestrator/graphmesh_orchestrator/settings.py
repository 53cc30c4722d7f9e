"""The settings of the orchestrator."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from graphmesh_chassis.settings import ServerSettings, settings_config
from graphmesh_contracts import Overrides
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode


def _tool_policies(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {service: Overrides(**overrides) for service, overrides in json.loads(value or "{}").items()}


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_ORCHESTRATOR_")

    database_url: str = Field(
        "sqlite+aiosqlite:///.graphmesh/orchestrator.db",
        description="SQLAlchemy URL of the runs, their events and checkpoints",
    )
    mesh: str = Field("127.0.0.1:8081", description="host:port of Envoy's mesh listener")
    redis_url: str = Field(
        default="",
        repr=False,
        description="redis://… that tells processes of each other's runs sooner; empty: they look",
    )
    role: Literal["all", "api", "worker"] = Field(
        default="all", description="api: takes calls and executes nothing; worker: executes what others have taken"
    )
    capacity: int = Field(default=200, ge=1, description="runs that are executed at a time")
    graphs: Path = Field(Path("langgraph.json"), description="the registry of the graphs")
    tool_policies: Annotated[Mapping[str, Overrides], NoDecode, BeforeValidator(_tool_policies)] = Field(
        default_factory=dict, description="overrides of the tools' policies, as JSON, by the service's full name"
    )
