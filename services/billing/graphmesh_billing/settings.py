"""Settings of the billing service, read from `GRAPHMESH_BILLING_*`."""

from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, settings_config


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_BILLING_")

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///.graphmesh/billing.db")
