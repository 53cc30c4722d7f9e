"""Composition root: settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from graphmesh.telemetry.v1 import TelemetryService, add_TelemetryServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run

from graphmesh_telemetry.receiving import Receiver, receiving
from graphmesh_telemetry.servicer import TelemetryServicer
from graphmesh_telemetry.settings import Settings
from graphmesh_telemetry.spans_sql import SqlSpans

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        spans = SqlSpans(database)
        key, keep = settings.otlp_key.get_secret_value(), timedelta(days=settings.keep_days)
        receiver = Receiver(spans, key, keep, settings.max_spans)
        async with receiving(receiver, settings.otlp_listen):
            yield Servable(
                services=[
                    Service(TelemetryService, add_TelemetryServiceServicer_to_server, TelemetryServicer(spans)),
                ],
                database=database,
                tasks={"spans": receiver.store},
            )


def main() -> None:
    run("telemetry", build, Settings)


if __name__ == "__main__":
    main()
