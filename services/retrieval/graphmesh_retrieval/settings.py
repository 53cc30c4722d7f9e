"""The settings of retrieval."""

from graphmesh_chassis.settings import ServerSettings, settings_config
from pydantic import Field


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_RETRIEVAL_")

    database_url: str = Field(
        default="sqlite+aiosqlite:///.graphmesh/retrieval.db",
        description="SQLAlchemy URL: sqlite+aiosqlite:///path or postgresql+psycopg://user@host/database",
    )
