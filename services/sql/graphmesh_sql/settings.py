"""The settings of sql."""

import re
from typing import Annotated

from graphmesh_chassis.settings import SecretUrl, ServerSettings, settings_config, url_like
from pydantic import Field

MIB = 1024 * 1024


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_SQL_")

    target_url: Annotated[SecretUrl, url_like(re.compile(r"^$|^sqlite:///.+|^postgresql(\+psycopg)?://.+"))] = Field(
        default=SecretUrl(""),
        description="the queried database: sqlite:///path, or postgresql://user@host/database of a read-only role; "
        "empty: a small sample warehouse",
    )
    sample: str = Field(default=".graphmesh/sample-warehouse.db", description="the file of the sample warehouse")
    declarations: str = Field(default="", description="a TOML file with roles, datasets and rewrites")
    max_rows: int = Field(default=10_000, ge=1, le=1_000_000, description="limit of a query's rows")
    max_bytes: int = Field(default=16 * MIB, ge=65536, le=1024 * MIB, description="limit of the bytes of a result")
    query_memory: int = Field(
        default=24 * MIB, ge=16 * MIB, le=4096 * MIB, description="bytes of memory that a query may use in its process"
    )
    backend_memory: int = Field(
        default=128 * MIB,
        ge=64 * MIB,
        le=65536 * MIB,
        description="PostgreSQL: bytes of memory that a query may take in the server",
    )
    temp_bytes: int = Field(
        default=512 * MIB, ge=MIB, le=1024 * 1024 * MIB, description="limit of the temporary space of a query, in bytes"
    )
    max_cost: float = Field(
        default=10_000_000.0,
        gt=0,
        description="PostgreSQL: limit of a query's cost as the planner estimates it, in planner units",
    )
    max_steps: int = Field(
        default=500_000_000, ge=10_000, description="SQLite: limit of a query's virtual machine instructions"
    )
    cache_seconds: float = Field(
        default=60.0, ge=0, le=86400, description="how long a result is cached while the data do not change; 0: never"
    )
    cache_bytes: int = Field(default=32 * MIB, ge=0, le=4096 * MIB, description="size of the cache of results")
