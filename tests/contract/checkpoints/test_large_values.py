"""Large values are stored once, as artifacts; states over their limit are refused as a whole."""

import asyncio
import operator
import os
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, cast

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver, SqlBatchWriter, StateLimits, pruning
from graphmesh_orchestrator.checkpoints.tables import checkpoints, task_writes
from graphmesh_orchestrator.db.tables import artifacts
from graphmesh_orchestrator.errors import CheckpointConflict, StateTooLarge
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import TypedDict

from tests.contract.checkpoints import kit

T = kit.at("t")
BIG = os.urandom(200_000)
LIMIT = 64 * 1024


class Documents(TypedDict, total=False):
    document: bytes
    parts: Annotated[list[bytes], operator.add]
    log: Annotated[list[str], operator.add]


def writing(saver: LogSaver, *documents: bytes) -> kit.Graph:
    """Build a sequence of nodes, each of which replaces the document."""
    builder = StateGraph(Documents)
    before = START
    for number, document in enumerate(documents):
        builder.add_node(f"n{number}", lambda _, given=document: {"document": given})
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    builder.add_edge(before, END)
    return builder.compile(checkpointer=saver)


async def artifact_sizes(database: Database) -> list[int]:
    async with database.read() as connection:
        found = await connection.execute(sa.select(sa.func.length(artifacts.c.data)).order_by(artifacts.c.stamp))
        return list(found.scalars())


async def log_bytes(database: Database) -> int:
    """Return the size of all rows of the log."""
    async with database.read() as connection:
        sizes = [sa.select(sa.func.sum(sa.func.length(table.c.data))) for table in (checkpoints, task_writes)]
        return sum([(await connection.execute(size)).scalar() or 0 for size in sizes])


async def test_a_large_value_is_stored_once(saver: LogSaver, other_saver: LogSaver, database: Database) -> None:
    """The input, a task's writes and two supersteps refer to the same artifact."""
    graph = writing(saver, BIG, BIG)
    ended = await graph.ainvoke({"document": BIG}, T, durability="sync")
    assert ended == {"document": BIG, "parts": [], "log": []}
    assert [size - len(BIG) < 100 for size in sorted(await artifact_sizes(database))] == [True, True]
    assert await log_bytes(database) < 20_000
    again = writing(other_saver, BIG, BIG)
    assert [snapshot.values.get("document") async for snapshot in again.aget_state_history(T)] == [
        BIG,
        BIG,
        BIG,
        None,
    ]


async def test_a_small_value_is_stored_in_its_row(saver: LogSaver, database: Database) -> None:
    await kit.put(saver, T, value="x" * (LIMIT - 100))
    assert await artifact_sizes(database) == []
    await kit.put(saver, T, value="x" * LIMIT)
    assert len(await artifact_sizes(database)) == 1


async def test_large_pending_writes_are_read(saver: LogSaver) -> None:
    config = await kit.put(saver, T, value=1)
    await saver.aput_writes(config, [("value", BIG), ("other", 2), ("value", BIG)], "task")
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.pending_writes == [("task", "value", BIG), ("task", "other", 2), ("task", "value", BIG)]


async def test_delta_channels_are_rebuilt_from_large_values(saver: LogSaver) -> None:
    class Delta(TypedDict, total=False):
        parts: Annotated[list[bytes], DeltaChannel(lambda value, writes: sum(writes, value or []))]

    builder = StateGraph(Delta)
    builder.add_node("write", lambda _: {"parts": [BIG]})
    builder.add_edge(START, "write")
    graph = builder.compile(checkpointer=saver)
    await graph.ainvoke({"parts": [b"first"]}, T, durability="sync")
    await graph.ainvoke({"parts": [b"second"]}, T, durability="sync")
    assert (await graph.aget_state(T)).values == {"parts": [b"first", BIG, b"second", BIG]}


async def test_a_state_over_its_limit_is_refused(database: Database, commits: GroupCommit) -> None:
    """Unchanged values count too; the error names the largest channel, and the thread is not changed."""
    saver = LogSaver(database, commits, StateLimits(artifact=LIMIT, state=300_000))
    first = await kit.put(saver, T, document=BIG)
    grown = {**kit.checkpoint(document=BIG, more=b"x" * 150_000), "channel_versions": {"document": 1, "more": 2}}
    with pytest.raises(StateTooLarge) as refused:
        await LogSaver(database, commits, StateLimits(state=300_000)).aput(first, grown, {"step": 1}, {"more": 2})  # type: ignore[arg-type]
    assert {name: refused.value.data[name] for name in ("limit", "channel")} == {
        "limit": "300000",
        "channel": "document",
    }
    assert int(refused.value.data["bytes"]) > 350_000
    assert int(refused.value.data["channel_bytes"]) >= 200_000
    assert len(await artifact_sizes(database)) == 1
    [found] = await kit.list_all(saver, T)
    assert found.checkpoint["channel_values"] == {"document": BIG}


async def test_a_graph_stops_at_the_limit(database: Database, commits: GroupCommit) -> None:
    """The writes of the node that exceeds it are not stored."""
    saver = LogSaver(database, commits, StateLimits(state=150_000))
    with pytest.raises(StateTooLarge, match="document"):
        await writing(saver, b"small", BIG).ainvoke({"document": b""}, T, durability="sync")
    snapshot = await writing(saver, b"small", BIG).aget_state(T)
    assert (snapshot.values["document"], snapshot.next) == (b"small", ("n1",))
    assert await artifact_sizes(database) == []


async def test_pruning_deletes_unreferenced_values(saver: LogSaver, database: Database) -> None:
    """The last of three versions of a document is kept, and so are artifacts of the graph."""
    first, second, last = os.urandom(100_000), os.urandom(110_000), os.urandom(120_000)
    graph = writing(saver, first, second, last)
    await graph.ainvoke({"log": ["begin"]}, T, durability="sync")
    uri = await saver.artifacts(T).put(b"kept")
    before = (await graph.aget_state(T)).values
    assert len(await artifact_sizes(database)) == 4
    await saver.aprune(["t"])
    assert sorted(size // 1000 for size in await artifact_sizes(database)) == [0, 120]
    assert (await graph.aget_state(T)).values == before
    assert await saver.artifacts(T).get(uri) == b"kept"


async def test_deleting_a_run_deletes_its_values(saver: LogSaver, database: Database) -> None:
    """Those of other runs' checkpoints are kept."""
    old, new = os.urandom(100_000), os.urandom(110_000)
    await writing(saver, old).ainvoke({}, {**T, "metadata": {"run_id": "r1"}}, durability="sync")
    await writing(saver, new).ainvoke({}, {**T, "metadata": {"run_id": "r2"}}, durability="sync")
    await saver.adelete_for_runs(["r2"])
    assert [size // 1000 for size in await artifact_sizes(database)] == [100]
    assert (await writing(saver, new).aget_state(T)).values["document"] == old


async def test_a_copy_of_a_thread_has_its_own_artifacts(saver: LogSaver, database: Database) -> None:
    """They outlive the source, and are deleted with the copy."""
    await writing(saver, BIG).ainvoke({}, T, durability="sync")
    uri = await saver.artifacts(T).put(b"mine")
    await saver.acopy_thread("t", "copy")
    await saver.adelete_thread("t")
    copy = kit.at("copy")
    assert (await writing(saver, BIG).aget_state(copy)).values["document"] == BIG
    assert await saver.artifacts(copy).get(uri) == b"mine"
    await saver.adelete_thread("copy")
    assert await artifact_sizes(database) == []


async def test_a_run_continues_while_its_thread_is_pruned(saver: LogSaver, database: Database) -> None:
    """By another process, repeatedly, also where a document that was just deleted is stored again."""
    documents = [os.urandom(70_000) for _ in range(3)]
    graph = writing(saver, *(documents * 12))
    running = asyncio.create_task(graph.ainvoke({"log": ["begin"]}, {**T, "recursion_limit": 99}, durability="sync"))
    async with GroupCommit(SqlBatchWriter(database)).running() as commits:
        other_process = LogSaver(database, commits)
        while not running.done():
            await other_process.aprune(["t"])
    assert (await running)["document"] == documents[-1]
    async for snapshot in writing(LogSaver(database, commits), *(documents * 12)).aget_state_history(T):
        assert snapshot.values.get("document") in (None, *documents)


class BeforeDeletion:
    """A connection that runs an action before artifacts are locked for their deletion."""

    def __init__(self, connection: AsyncConnection, action: Callable[[], Awaitable[None]]) -> None:
        self._connection, self._actions = connection, [action]

    async def execute(self, statement: Any, *parameters: Any) -> Any:
        if self._actions and re.search(r"FROM artifacts\b.*FOR UPDATE", str(statement), re.DOTALL):
            await self._actions.pop()()
        return await self._connection.execute(statement, *parameters)


VERSIONS = [[BIG], [BIG, b"second"], [BIG, b"second", b"third"]]


@pytest.mark.parametrize("versions", [VERSIONS[:1], VERSIONS], ids=["whole", "in parts"])
async def test_a_value_that_is_stored_again_during_pruning_is_kept(
    saver: LogSaver, database: Database, versions: list[list[bytes]]
) -> None:
    """It is stored after the references are read, and before it is deleted as unreferenced; so are its parts."""
    latest = T
    for version in versions:
        latest = await kit.put(saver, latest, value=version)
    latest = await kit.put(saver, latest, value="small")
    writes: list[asyncio.Task[Any]] = []

    async def store_again() -> None:
        writes.append(asyncio.create_task(kit.put(saver, latest, value=versions[-1])))
        if not database.is_sqlite:  # where a writer waits until the pruning is committed
            await writes[0]

    async with database.transaction() as connection:
        interrupted = cast(AsyncConnection, BeforeDeletion(connection, store_again))
        await pruning.keep_latest(interrupted, saver.serde, ["t"])
    await writes[0]
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"value": versions[-1]}


async def test_a_refused_checkpoint_stores_no_artifacts(saver: LogSaver, database: Database) -> None:
    await kit.put(saver, T, value=1)
    head = await saver.aget_tuple(T)
    assert head is not None
    mine, other = os.urandom(100_000), os.urandom(110_000)
    writing_both = [kit.put(saver, head.config, value=document) for document in (mine, other)]
    outcomes = await asyncio.gather(*writing_both, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [dict, CheckpointConflict]
    assert [size // 1000 for size in await artifact_sizes(database)] == [100]
