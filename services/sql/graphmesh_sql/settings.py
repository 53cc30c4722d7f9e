"""The settings of sql."""

from graphmesh_chassis.settings import ServerSettings, settings_config
from pydantic import Field


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_SQL_")

    target_url: str = Field(
        default="",
        repr=False,
        pattern=r"^$|^sqlite:///.+|^postgresql(\+psycopg)?://.+",
        description="the queried database: sqlite:///path, or postgresql://user@host/database of a read-only role; "
        "empty: a small sample warehouse",
    )
    sample: str = Field(default=".graphmesh/sample-warehouse.db", description="the file of the sample warehouse")
    max_rows: int = Field(default=10_000, ge=1, le=1_000_000, description="limit of a query's rows")
    max_cost: float = Field(
        default=10_000_000.0,
        gt=0,
        description="PostgreSQL: limit of a query's cost as the planner estimates it, in planner units",
    )
    max_steps: int = Field(
        default=500_000_000, ge=10_000, description="SQLite: limit of a query's virtual machine instructions"
    )
