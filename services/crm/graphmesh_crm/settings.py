"""Settings of the CRM service, read from `GRAPHMESH_CRM_*`."""

from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, settings_config


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_CRM_")

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///.graphmesh/crm.db")
