"""Settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh.retrieval.v1 import RetrievalService, add_RetrievalServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.store import SqlStore

from graphmesh_retrieval.documents_sql import SqlDocuments
from graphmesh_retrieval.file_reading import FileReader
from graphmesh_retrieval.servicer import RetrievalServicer
from graphmesh_retrieval.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        servicer = RetrievalServicer(SqlStore(database, SqlDocuments), FileReader(settings.file_seconds))
        yield Servable(
            services=[Service(RetrievalService, add_RetrievalServiceServicer_to_server, servicer)],
            pings={"database": database.ping},
        )


def main() -> None:
    run("retrieval", build, Settings)


if __name__ == "__main__":
    main()
