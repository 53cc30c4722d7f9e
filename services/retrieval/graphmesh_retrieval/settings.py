"""The settings of retrieval."""

from graphmesh_chassis.settings import DatabaseUrl, ServerSettings, settings_config


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_RETRIEVAL_")

    database_url: DatabaseUrl = "sqlite+aiosqlite:///.graphmesh/retrieval.db"
