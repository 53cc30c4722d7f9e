"""Settings of the ticketing service, read from `GRAPHMESH_TICKETING_*`."""

from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, settings_config


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_TICKETING_")

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///.graphmesh/ticketing.db")
