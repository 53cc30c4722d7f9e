"""The settings of retrieval."""

from graphmesh_chassis.settings import DatabaseUrl, ServerSettings, settings_config
from pydantic import Field


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_RETRIEVAL_")

    database_url: DatabaseUrl = "sqlite+aiosqlite:///.graphmesh/retrieval.db"
    file_seconds: int = Field(
        default=10, ge=1, le=60, description="longest CPU time to read an HTML, PDF or Word document, in seconds"
    )
