"""The settings of sql."""

from graphmesh_chassis.settings import ServerSettings, settings_config
from pydantic import Field


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_SQL_")

    target_url: str = Field(
        default="",
        repr=False,
        pattern=r"^$|^sqlite:///.+|^postgresql(\+psycopg)?://.+",
        description="what is queried: sqlite:///path or postgresql://user@host/database, by a user who can only read; "
        "empty: a small sample warehouse",
    )
    sample: str = Field(
        default=".graphmesh/sample-warehouse.db", description="the file that the sample warehouse is made in"
    )
    max_rows: int = Field(default=10_000, ge=1, le=1_000_000, description="rows that a query gets at the most")
    max_cost: float = Field(
        default=10_000_000.0,
        gt=0,
        description="PostgreSQL: what the planner may expect a query to cost, in its own units",
    )
    max_steps: int = Field(
        default=500_000_000, ge=10_000, description="SQLite: virtual machine instructions that a query may take"
    )
