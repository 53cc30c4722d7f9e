"""Settings of the CRM service, read from `GRAPHMESH_CRM_*`."""

from graphmesh_chassis.settings import DatabaseUrl, ServerSettings, settings_config


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_CRM_")

    database_url: DatabaseUrl = "sqlite+aiosqlite:///.graphmesh/crm.db"
