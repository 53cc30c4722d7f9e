"""Settings, build, serve."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.protobuf import descriptor_pool
from graphmesh.sql.v1 import SqlService, add_SqlServiceServicer_to_server
from graphmesh_chassis.serve import Servable, Service, run
from graphmesh_chassis.settings import reveal
from graphmesh_contracts import service_policies

from graphmesh_sql.declarations import Declarations, read_declarations
from graphmesh_sql.querying import Querying
from graphmesh_sql.result_cache import ResultCache
from graphmesh_sql.sample import make_sample
from graphmesh_sql.servicer import ResultLimits, SqlServicer
from graphmesh_sql.settings import Settings
from graphmesh_sql.warehouse import open_warehouse
from graphmesh_sql.worker.settings import WorkerSettings


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Servable]:
    is_sqlite = not reveal(settings.target_url).startswith("postgresql")
    declarations = read_declarations(settings.declarations, sqlite=is_sqlite)
    if not settings.target_url:
        make_sample(Path(settings.sample))
    worker_settings = _worker_settings(settings, declarations)
    async with open_warehouse(worker_settings, _cap(settings)) as warehouse:
        querying = Querying(warehouse, ResultCache(settings.cache_seconds, settings.cache_bytes))
        servicer = SqlServicer(querying, declarations, ResultLimits(settings.max_rows, settings.max_bytes))
        yield Servable(
            services=[Service(SqlService, add_SqlServiceServicer_to_server, servicer)],
            pings={"target": warehouse.ping},
        )


def _cap(settings: Settings) -> int:
    """Return the cap of calls: with fewer processes, admitted queries would wait for one in no fair order."""
    service = descriptor_pool.Default().FindServiceByName(SqlService.NAME)
    (policy,) = service_policies([service], settings.policy).values()
    return policy.max_concurrency


def _worker_settings(settings: Settings, declarations: Declarations) -> WorkerSettings:
    return WorkerSettings(
        target=reveal(settings.target_url).removeprefix("sqlite:///") or settings.sample,
        parent=os.getpid(),
        memory_bytes=settings.query_memory,
        backend_bytes=settings.backend_memory,
        temp_bytes=settings.temp_bytes,
        max_steps=settings.max_steps,
        max_cost=settings.max_cost,
        roles={name: role.tables for name, role in declarations.roles.items()},
    )


def main() -> None:
    run("sql", build, Settings)


if __name__ == "__main__":
    main()
