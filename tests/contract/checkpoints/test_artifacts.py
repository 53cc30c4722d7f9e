"""Artifacts of graphs, in memory and in SQL."""

import hashlib
import os

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Fenced, NotFound
from graphmesh_nodes.artifacts import Artifacts, MemoryArtifacts
from graphmesh_nodes.errors import ArtifactTooLarge
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints.artifacts_sql import SqlArtifacts
from graphmesh_orchestrator.db.tables import artifacts as table

from tests.contract.checkpoints import kit

T = kit.at("t")
BIG = os.urandom(200_000)


@pytest_asyncio.fixture(params=["memory", "log"])
async def artifacts(request: pytest.FixtureRequest, saver: LogSaver) -> Artifacts:
    return MemoryArtifacts() if request.param == "memory" else saver.artifacts(T)


@pytest_asyncio.fixture(params=["memory", "log"])
async def small_artifacts(request: pytest.FixtureRequest, database: Database, commits: GroupCommit) -> Artifacts:
    """Artifacts of at most ten bytes."""
    if request.param == "memory":
        return MemoryArtifacts(max_bytes=10)
    return SqlArtifacts(database, commits, "t", None, max_bytes=10)


async def test_artifacts_are_stored_by_their_content(artifacts: Artifacts) -> None:
    """A node that is executed again gets the same URI and changes nothing."""
    uri = await artifacts.put(b"report", "text/plain")
    assert uri == f"artifact:{hashlib.sha256(b'report').hexdigest()}"
    assert await artifacts.put(b"report", "text/html") == uri
    assert await artifacts.get(uri) == b"report"
    assert await artifacts.get(await artifacts.put(b"")) == b""


async def test_unknown_artifact_is_not_found(artifacts: Artifacts) -> None:
    with pytest.raises(NotFound, match="artifact:00"):
        await artifacts.get("artifact:00")


async def test_an_artifact_over_its_limit_is_refused(small_artifacts: Artifacts) -> None:
    await small_artifacts.put(b"x" * 10)
    with pytest.raises(ArtifactTooLarge) as refused:
        await small_artifacts.put(b"x" * 11)
    assert refused.value.data == {"bytes": "11", "limit": "10"}


async def test_artifacts_of_other_threads_are_not_found(saver: LogSaver, database: Database) -> None:
    """Nor those of another tenant's thread of the same name, nor values of checkpoints."""
    uri = await saver.artifacts(kit.at("acme/t")).put(b"secret")
    for other in ("shop/t", "acme/t2"):
        with pytest.raises(NotFound):
            await saver.artifacts(kit.at(other)).get(uri)
    await kit.put(saver, T, value=BIG)
    async with database.read() as connection:
        name = (await connection.execute(sa.select(table.c.name).where(table.c.thread_id == "t"))).scalar_one()
    with pytest.raises(NotFound):
        await saver.artifacts(T).get(name)


async def test_a_fenced_worker_stores_no_artifacts(saver: LogSaver, database: Database) -> None:
    """Neither of the graph nor of its checkpoints."""
    await kit.add_run(database, "r")
    config = kit.with_epoch(T, "r")
    await saver.artifacts(config).put(b"in time")
    await kit.take_over(database, "r")
    with pytest.raises(Fenced):
        await saver.artifacts(config).put(b"late")
    with pytest.raises(Fenced):
        await kit.put(saver, config, value=BIG)
    async with database.read() as connection:
        assert list((await connection.execute(sa.select(table.c.data))).scalars()) == [b"in time"]
