"""The settings of billing."""

from graphmesh_chassis.settings import ServerSettings, settings_config
from pydantic import Field


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_BILLING_")

    database_url: str = Field(
        default="sqlite+aiosqlite:///.graphmesh/billing.db",
        description="SQLAlchemy URL: sqlite+aiosqlite:///path or postgresql+psycopg://user@host/database",
    )
