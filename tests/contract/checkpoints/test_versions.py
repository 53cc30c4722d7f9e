"""States of older versions of a graph are migrated when they are read; other versions are refused."""

import operator
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
import pytest_asyncio
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints.parent_cache import MAX_PARENTS
from graphmesh_orchestrator.checkpoints.state_versions import Lineage, Migration, Versions
from graphmesh_orchestrator.errors import VersionUnavailable
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from tests.contract.checkpoints import kit

T = kit.at("t")
BIG = "x" * 100_000


class One(TypedDict, total=False):
    name: str
    document: str
    log: Annotated[list[str], operator.add]


class Two(TypedDict, total=False):
    """`name` is split into two fields."""

    first: str
    last: str
    document: str
    log: Annotated[list[str], operator.add]


class Three(TypedDict, total=False):
    """`first` is removed."""

    last: str
    document: str
    log: Annotated[list[str], operator.add]


def split(values: dict[str, Any]) -> dict[str, Any]:
    """Migrates from 1 to 2. It changes its argument, as authors do."""
    if "name" in values:
        values["first"], values["last"] = values.pop("name").split(" ")
    if "log" in values:
        values["log"].append("migrated")
    return values


def shorten(values: dict[str, Any]) -> dict[str, Any]:
    """Migrates from 2 to 3."""
    return {name: value for name, value in values.items() if name != "first"}


STATES: Mapping[int, type] = {1: One, 2: Two, 3: Three}
MIGRATIONS: Mapping[int, Migration] = {1: split, 2: shorten}


def lineage(version: int, migrations: Mapping[int, Migration] = MIGRATIONS) -> Lineage:
    earlier = {begin: migration for begin, migration in migrations.items() if begin < version}
    return Lineage("names", Versions(version, "p", "t"), earlier)


def interrupting(saver: LogSaver, version: int, migrations: Mapping[int, Migration] = MIGRATIONS) -> kit.Graph:
    """Build the graph of a version, whose second node interrupts."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(STATES[version])
    builder.add_node("begin", lambda _: {"log": [f"begin {version}"]})
    builder.add_node("ask", lambda _: {"log": [f"{interrupt('sure?')} {version}"]})
    builder.add_node("end", lambda _: {"log": [f"end {version}"]})
    for before, after in ((START, "begin"), ("begin", "ask"), ("ask", "end"), ("end", END)):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=saver.with_lineage(lineage(version, migrations)))


GIVEN = {"name": "Ada Lovelace", "document": BIG, "log": []}
MIGRATED = {"first": "Ada", "last": "Lovelace", "document": BIG}


async def values_of(graph: kit.Graph) -> list[dict[str, Any]]:
    return [snapshot.values async for snapshot in graph.aget_state_history(T)]


@pytest_asyncio.fixture(params=[MAX_PARENTS, 0], ids=["cached", "not cached"])
async def either_saver(request: pytest.FixtureRequest, database: Database, commits: GroupCommit) -> LogSaver:
    """A saver that caches the parent of a checkpoint that it writes, or one that reads it."""
    return LogSaver(database, commits, cached_parents=request.param)


async def test_a_run_is_taken_over_by_a_worker_of_the_next_version(either_saver: LogSaver, database: Database) -> None:
    """Version 1 begins and interrupts; version 2 resumes with the answer, from the migrated state."""
    saver = either_saver
    await kit.add_run(database, "r")
    await interrupting(saver, 1).ainvoke(GIVEN, kit.with_epoch(T, "r"), durability="sync")
    await kit.take_over(database, "r")
    after, config = interrupting(saver, 2), kit.with_epoch(T, "r", 2)
    snapshot = await after.aget_state(T)
    assert snapshot.values == {**MIGRATED, "log": ["begin 1", "migrated"]}
    assert [task.interrupts[0].value for task in snapshot.tasks] == ["sure?"]
    ended = await after.ainvoke(Command(resume="yes"), config, durability="sync")
    assert ended == {**MIGRATED, "log": ["begin 1", "migrated", "yes 2", "end 2"]}
    assert (await interrupting(saver, 2).aget_state(T)).values == ended


async def test_checkpoints_of_a_history_are_migrated_independently(saver: LogSaver, other_saver: LogSaver) -> None:
    """A list that many checkpoints share is migrated once for each of them; writes of version 2 are not migrated."""
    graph = interrupting(saver, 1)
    await graph.ainvoke(GIVEN, T, durability="sync")
    await graph.aupdate_state(T, {"document": ""}, as_node="begin")
    await interrupting(saver, 2).ainvoke(Command(resume="yes"), T, durability="sync")
    for reader in (saver, other_saver):
        logs = [values.get("log") for values in await values_of(interrupting(reader, 2))]
        assert logs == [
            ["begin 1", "migrated", "yes 2", "end 2"],
            ["begin 1", "migrated", "yes 2"],
            ["begin 1", "migrated"],
            ["begin 1", "migrated"],
            ["migrated"],
            [],
        ]


async def test_several_migrations_are_applied_in_order(either_saver: LogSaver) -> None:
    await interrupting(either_saver, 1).ainvoke(GIVEN, T, durability="sync")
    ended = await interrupting(either_saver, 3).ainvoke(Command(resume="yes"), T, durability="sync")
    assert ended == {"last": "Lovelace", "document": BIG, "log": ["begin 1", "migrated", "yes 3", "end 3"]}


async def test_a_checkpoint_shares_no_values_with_older_versions(either_saver: LogSaver) -> None:
    """It holds all its values, migrated; the next one shares them again."""
    saver = either_saver
    await interrupting(saver, 1).ainvoke(GIVEN, T, durability="sync")
    graph = interrupting(saver, 2)
    await graph.aupdate_state(T, {"last": "Byron"}, as_node="begin")
    await saver.aprune(["t"])
    assert (await graph.aget_state(T)).values == {**MIGRATED, "last": "Byron", "log": ["begin 1", "migrated"]}


@pytest.mark.parametrize(
    ("version", "migrations", "served"),
    [(1, MIGRATIONS, "1"), (3, {1: split}, "3"), (3, {}, "3")],
    ids=["newer", "a gap", "no migration"],
)
async def test_an_unsupported_version_is_refused(
    saver: LogSaver, version: int, migrations: Mapping[int, Migration], served: str
) -> None:
    """The error names the recorded version and the supported ones; version 2 resumes the thread as before."""
    await interrupting(saver, 2).ainvoke({**MIGRATED, "log": []}, T, durability="sync")
    graph = interrupting(saver, version, migrations)
    with pytest.raises(VersionUnavailable) as refused:
        await graph.aget_state(T)
    assert refused.value.data == {"graph": "names", "version": "2", "served": served}
    for attempt in (
        graph.ainvoke(Command(resume="yes"), T, durability="sync"),
        graph.aupdate_state(T, {"log": ["no"]}),
        values_of(graph),
    ):
        with pytest.raises(VersionUnavailable):
            await attempt
    ended = await interrupting(saver, 2).ainvoke(Command(resume="yes"), T, durability="sync")
    assert ended["log"] == ["begin 2", "yes 2", "end 2"]


async def test_every_checkpoint_records_its_versions(saver: LogSaver) -> None:
    """Those of updates and forks do too. A checkpoint without a version is of version 1."""
    graph = interrupting(saver, 2)
    await graph.ainvoke({"log": []}, T, durability="sync")
    await graph.aupdate_state(T, {"log": ["update"]}, as_node="begin")
    expected = {"graph_version": 2, "prompts_version": "p", "tools_version": "t"}
    async for snapshot in graph.aget_state_history(T):
        assert expected.items() <= (snapshot.metadata or {}).items()
    await interrupting(saver, 1).ainvoke(GIVEN, kit.at("u"), durability="sync")
    await kit.put(saver, kit.at("v"), name="Ada Lovelace")
    assert (await graph.aget_state(kit.at("v"))).values == {"first": "Ada", "last": "Lovelace", "log": []}


async def test_delta_channels_are_rebuilt_from_writes_of_several_versions(saver: LogSaver) -> None:
    """The writes are not migrated."""

    class Delta(TypedDict, total=False):
        log: Annotated[list[str], DeltaChannel(lambda value, writes: sum(writes, value or []), snapshot_frequency=3)]

    first = kit.chain(saver.with_lineage(Lineage("delta", Versions(1))), Delta, kit.TWO)
    second = kit.chain(saver.with_lineage(Lineage("delta", Versions(2), {1: dict})), Delta, kit.TWO)
    for name, graph in (("1", first), ("2", second), ("3", second)):
        await graph.ainvoke({"log": [name]}, T, durability="sync")
    assert (await second.aget_state(T)).values["log"] == ["1", "a", "b", "2", "a", "b", "3", "a", "b"]


async def test_states_of_subgraphs_are_not_migrated(saver: LogSaver) -> None:
    """A graph's migrations do not know their channels. An interrupted subgraph is resumed."""

    def migrate_graph(values: dict[str, Any]) -> dict[str, Any]:
        assert "document" in values or "log" not in values
        return values

    given = {"document": BIG, "log": []}
    await kit.interrupting(saver.with_lineage(lineage(1))).ainvoke(given, T, durability="sync")
    graph = kit.interrupting(saver.with_lineage(lineage(2, {1: migrate_graph})))
    ended = await graph.ainvoke(Command(resume="yes"), T, durability="sync")
    assert ended == {"document": BIG, "log": ["other", "ask", "end"], "answer": "yes"}
