"""B1: what is big is stored once, aside; what is too big is refused, and nothing of it is there."""

import asyncio
import hashlib
import operator
import os
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import Fenced, NotFound
from graphmesh_nodes import artifacts as port
from graphmesh_nodes.artifacts import Artifacts, MemoryArtifacts
from graphmesh_nodes.errors import ArtifactTooLarge
from graphmesh_orchestrator.checkpoints import Bounds, GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints import pruning as upkeep
from graphmesh_orchestrator.checkpoints.tables import artifacts, checkpoints, task_writes
from graphmesh_orchestrator.errors import CheckpointConflict, StateTooLarge
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import begun, taken_over

T = kit.at("t")
BIG = os.urandom(200_000)
BOUND = 64 * 1024


class Documents(TypedDict, total=False):
    document: bytes
    parts: Annotated[list[bytes], operator.add]
    log: Annotated[list[str], operator.add]


def writing(saver: LogSaver, *documents: bytes) -> kit.Graph:
    """A node for each document, which replaces the one before."""
    builder = StateGraph(Documents)
    before = START
    for number, document in enumerate(documents):
        builder.add_node(f"n{number}", lambda _, given=document: {"document": given})
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    builder.add_edge(before, END)
    return builder.compile(checkpointer=saver)


async def stored(database: Database) -> list[int]:
    """The sizes of what is stored aside."""
    async with database.read() as connection:
        found = await connection.execute(sa.select(sa.func.length(artifacts.c.data)).order_by(artifacts.c.stamp))
        return list(found.scalars())


async def in_rows(database: Database) -> int:
    """The bytes of all rows of the log."""
    async with database.read() as connection:
        sizes = [sa.select(sa.func.sum(sa.func.length(table.c.data))) for table in (checkpoints, task_writes)]
        return sum([(await connection.execute(size)).scalar() or 0 for size in sizes])


async def test_a_big_value_is_stored_once(saver: LogSaver, database: Database, commits: GroupCommit) -> None:
    """It is in the input, in a task's writes and in two supersteps: as names of the same artifact."""
    graph = writing(saver, BIG, BIG)
    ended = await graph.ainvoke({"document": BIG}, T, durability="sync")
    assert ended == {"document": BIG, "parts": [], "log": []}
    assert [size - len(BIG) < 100 for size in sorted(await stored(database))] == [True, True]
    assert await in_rows(database) < 20_000
    again = writing(LogSaver(database, commits), BIG, BIG)
    assert [snapshot.values.get("document") for snapshot in [s async for s in again.aget_state_history(T)]] == [
        BIG,
        BIG,
        BIG,
        None,
    ]


async def test_what_is_small_stays_in_its_row(saver: LogSaver, database: Database) -> None:
    await kit.put(saver, T, value="x" * (BOUND - 100))
    assert await stored(database) == []
    await kit.put(saver, T, value="x" * BOUND)
    assert len(await stored(database)) == 1


async def test_big_writes_of_a_task_wait_aside(saver: LogSaver) -> None:
    config = await kit.put(saver, T, value=1)
    await saver.aput_writes(config, [("value", BIG), ("other", 2), ("value", BIG)], "task")
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.pending_writes == [("task", "value", BIG), ("task", "other", 2), ("task", "value", BIG)]


async def test_delta_channels_are_rebuilt_from_what_is_aside(saver: LogSaver) -> None:
    class Delta(TypedDict, total=False):
        parts: Annotated[list[bytes], DeltaChannel(lambda value, writes: sum(writes, value or []))]

    builder = StateGraph(Delta)
    builder.add_node("write", lambda _: {"parts": [BIG]})
    builder.add_edge(START, "write")
    graph = builder.compile(checkpointer=saver)
    await graph.ainvoke({"parts": [b"first"]}, T, durability="sync")
    await graph.ainvoke({"parts": [b"second"]}, T, durability="sync")
    assert (await graph.aget_state(T)).values == {"parts": [b"first", BIG, b"second", BIG]}


async def test_a_state_past_its_bound_is_refused(database: Database, commits: GroupCommit) -> None:
    """Whatever of it is new; the biggest channel is named, and the thread stays where it was."""
    saver = LogSaver(database, commits, Bounds(artifact=BOUND, state=300_000))
    first = await kit.put(saver, T, document=BIG)
    grown = {**kit.checkpoint(document=BIG, more=b"x" * 150_000), "channel_versions": {"document": 1, "more": 2}}
    with pytest.raises(StateTooLarge) as refused:
        await LogSaver(database, commits, Bounds(state=300_000)).aput(first, grown, {"step": 1}, {"more": 2})  # type: ignore[arg-type]
    assert {name: refused.value.data[name] for name in ("limit", "channel")} == {
        "limit": "300000",
        "channel": "document",
    }
    assert int(refused.value.data["bytes"]) > 350_000
    assert int(refused.value.data["channel_bytes"]) >= 200_000
    assert len(await stored(database)) == 1
    [found] = await kit.listed(saver, T)
    assert found.checkpoint["channel_values"] == {"document": BIG}


async def test_a_run_ends_at_the_bound(database: Database, commits: GroupCommit) -> None:
    """A node that returns too much is the last; nothing of what it returned is there."""
    saver = LogSaver(database, commits, Bounds(state=150_000))
    with pytest.raises(StateTooLarge, match="document"):
        await writing(saver, b"small", BIG).ainvoke({"document": b""}, T, durability="sync")
    snapshot = await writing(saver, b"small", BIG).aget_state(T)
    assert (snapshot.values["document"], snapshot.next) == (b"small", ("n1",))
    assert await stored(database) == []


async def test_pruning_takes_away_what_nobody_refers_to(saver: LogSaver, database: Database) -> None:
    """Of three versions of a document the last stays; and what a graph has put there itself."""
    first, second, last = os.urandom(100_000), os.urandom(110_000), os.urandom(120_000)
    graph = writing(saver, first, second, last)
    await graph.ainvoke({"log": ["begin"]}, T, durability="sync")
    uri = await saver.artifacts(T).put(b"kept")
    before = (await graph.aget_state(T)).values
    assert len(await stored(database)) == 4
    await saver.aprune(["t"])
    assert sorted(size // 1000 for size in await stored(database)) == [0, 120]
    assert (await graph.aget_state(T)).values == before
    assert await saver.artifacts(T).get(uri) == b"kept"


async def test_deleting_a_run_takes_away_its_values(saver: LogSaver, database: Database) -> None:
    """And none that other runs' checkpoints have."""
    old, new = os.urandom(100_000), os.urandom(110_000)
    await writing(saver, old).ainvoke({}, {**T, "metadata": {"run_id": "r1"}}, durability="sync")
    await writing(saver, new).ainvoke({}, {**T, "metadata": {"run_id": "r2"}}, durability="sync")
    await saver.adelete_for_runs(["r2"])
    assert [size // 1000 for size in await stored(database)] == [100]
    assert (await writing(saver, new).aget_state(T)).values["document"] == old


async def test_a_copy_has_its_own(saver: LogSaver, database: Database) -> None:
    """It is as it was when its source has been deleted; deleted itself, it leaves nothing."""
    await writing(saver, BIG).ainvoke({}, T, durability="sync")
    uri = await saver.artifacts(T).put(b"mine")
    await saver.acopy_thread("t", "copy")
    await saver.adelete_thread("t")
    copy = kit.at("copy")
    assert (await writing(saver, BIG).aget_state(copy)).values["document"] == BIG
    assert await saver.artifacts(copy).get(uri) == b"mine"
    await saver.adelete_thread("copy")
    assert await stored(database) == []


async def test_a_run_goes_on_while_its_thread_is_pruned(saver: LogSaver, database: Database) -> None:
    """Again and again, by another process, also when a document comes back that has just been taken away."""
    documents = [os.urandom(70_000) for _ in range(3)]
    graph = writing(saver, *(documents * 12))
    running = asyncio.create_task(graph.ainvoke({"log": ["begin"]}, {**T, "recursion_limit": 99}, durability="sync"))
    async with GroupCommit(database).running() as others:
        pruning = LogSaver(database, others)
        while not running.done():
            await pruning.aprune(["t"])
    assert (await running)["document"] == documents[-1]
    async for snapshot in writing(LogSaver(database, others), *(documents * 12)).aget_state_history(T):
        assert snapshot.values.get("document") in (None, *documents)


async def test_a_value_that_comes_back_while_it_is_pruned_stays(
    saver: LogSaver, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written again when pruning has seen that nobody refers to it, and before it is taken away."""
    latest = await kit.put(saver, await kit.put(saver, T, value=BIG), value="small")
    writes: list[asyncio.Task[Any]] = []
    referred = upkeep._referred

    async def interrupted(*given: Any) -> Any:
        found = await referred(*given)
        writes.append(asyncio.create_task(kit.put(saver, latest, value=BIG)))
        if not database.is_sqlite:  # where a writer waits until pruning is through
            await writes[0]
        return found

    monkeypatch.setattr(upkeep, "_referred", interrupted)
    await saver.aprune(["t"])
    await writes[0]
    found = await saver.aget_tuple(T)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"value": BIG}


@pytest.fixture(params=["memory", "log"])
def shelf(request: pytest.FixtureRequest, saver: LogSaver) -> Artifacts:
    return MemoryArtifacts() if request.param == "memory" else saver.artifacts(T)


async def test_what_is_put_is_got(shelf: Artifacts) -> None:
    """By a URI that the content decides, so a node that runs again changes nothing."""
    uri = await shelf.put(b"report", "text/plain")
    assert uri == f"artifact:{hashlib.sha256(b'report').hexdigest()}"
    assert await shelf.put(b"report", "text/html") == uri
    assert await shelf.get(uri) == b"report"
    assert await shelf.get(await shelf.put(b"")) == b""


async def test_what_is_not_there_is_told(shelf: Artifacts) -> None:
    with pytest.raises(NotFound, match="artifact:00"):
        await shelf.get("artifact:00")


async def test_an_artifact_has_a_bound(shelf: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "MAX_BYTES", 10)
    await shelf.put(b"x" * 10)
    with pytest.raises(ArtifactTooLarge) as refused:
        await shelf.put(b"x" * 11)
    assert refused.value.data == {"bytes": "11", "limit": "10"}


async def test_artifacts_are_the_threads_own(saver: LogSaver, database: Database) -> None:
    """Another tenant's thread of the same name has none of them; and none are values of checkpoints."""
    uri = await saver.artifacts(kit.at("acme/t")).put(b"secret")
    for other in ("shop/t", "acme/t2"):
        with pytest.raises(NotFound):
            await saver.artifacts(kit.at(other)).get(uri)
    await kit.put(saver, T, value=BIG)
    async with database.read() as connection:
        name = (await connection.execute(sa.select(artifacts.c.name).where(artifacts.c.thread_id == "t"))).scalar_one()
    with pytest.raises(NotFound):
        await saver.artifacts(T).get(name)


async def test_a_stale_owner_puts_nothing(saver: LogSaver, database: Database) -> None:
    await begun(database, "r")
    mine = saver.artifacts(kit.claimed(T, "r"))
    await mine.put(b"in time")
    await taken_over(database, "r")
    with pytest.raises(Fenced):
        await mine.put(b"late")
    with pytest.raises(Fenced):
        await kit.put(saver, kit.claimed(T, "r"), value=BIG)
    assert await stored(database) == [7]


async def test_the_loser_of_two_writers_leaves_nothing_aside(saver: LogSaver, database: Database) -> None:
    """Who is told of a conflict has stored neither its checkpoint nor what that refers to."""
    await kit.put(saver, T, value=1)
    head = await saver.aget_tuple(T)
    assert head is not None
    mine, other = os.urandom(100_000), os.urandom(110_000)
    writing_both = [kit.put(saver, head.config, value=document) for document in (mine, other)]
    outcomes = await asyncio.gather(*writing_both, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [dict, CheckpointConflict]
    assert [size // 1000 for size in await stored(database)] == [100]
