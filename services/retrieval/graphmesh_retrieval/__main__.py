"""Settings, build, serve."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from graphmesh.retrieval.v1 import RetrievalService, add_RetrievalServiceServicer_to_server
from graphmesh_chassis.database import open_database
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.store import SqlStore, Store

from graphmesh_retrieval.compaction_sql import Compactor
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.documents_sql import SqlDocuments
from graphmesh_retrieval.embedders import open_embedder
from graphmesh_retrieval.file_reading import FileReader
from graphmesh_retrieval.ingestion import Retention
from graphmesh_retrieval.servicer import RetrievalServicer
from graphmesh_retrieval.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    async with open_database(settings.database_url, MIGRATIONS) as database:
        retention = Retention(settings.max_versions, settings.version_days)
        files, embedder = FileReader(settings.file_seconds), open_embedder(settings.embedder)
        compactor = Compactor(database)
        store: Store[Documents] = SqlStore(database, SqlDocuments)
        servicer = RetrievalServicer(store, files, retention, embedder, compactor.wake)
        yield Servable(
            services=[Service(RetrievalService, add_RetrievalServiceServicer_to_server, servicer)],
            database=database,
            tasks={"compaction": compactor.run},
        )


def main() -> None:
    run("retrieval", build, Settings)


if __name__ == "__main__":
    main()
