"""Settings of the telemetry service, read from `GRAPHMESH_TELEMETRY_*`."""

from typing import Annotated

from graphmesh_chassis.settings import DatabaseUrl, SecretUrl, ServerSettings, settings_config, target
from pydantic import AfterValidator, Field, SecretStr


class Settings(ServerSettings):
    model_config = settings_config("GRAPHMESH_TELEMETRY_")

    database_url: DatabaseUrl = SecretUrl("sqlite+aiosqlite:///.graphmesh/telemetry.db")
    otlp_listen: Annotated[str, AfterValidator(target)] = Field(
        default="127.0.0.1:4317", description="host:port on which spans are received by OTLP over gRPC, without TLS"
    )
    otlp_key: SecretStr = Field(
        default=SecretStr(""),
        description="what exports state in the header x-graphmesh-telemetry-key; empty: any program may export",
    )
    keep_days: float = Field(default=3.0, gt=0, le=365, description="days for which spans are kept")
    max_spans: int = Field(
        default=500_000, ge=1000, le=100_000_000, description="spans that are kept, the latest ones; 0.6 KB each"
    )
