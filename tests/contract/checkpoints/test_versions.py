"""B10: a state of an older version of a graph is brought up when it is read; other versions are refused."""

import operator
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
from graphmesh_chassis.database import Database
from graphmesh_orchestrator.checkpoints import GroupCommit, LogSaver
from graphmesh_orchestrator.checkpoints import head_cache as module
from graphmesh_orchestrator.checkpoints.state_versions import Lineage, Migration, Versions
from graphmesh_orchestrator.errors import VersionUnavailable
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from tests.contract.checkpoints import kit
from tests.contract.checkpoints.conftest import begun, taken_over

T = kit.at("t")
BIG = "x" * 100_000


class One(TypedDict, total=False):
    name: str
    document: str
    log: Annotated[list[str], operator.add]


class Two(TypedDict, total=False):
    """`name` has become two fields."""

    first: str
    last: str
    document: str
    log: Annotated[list[str], operator.add]


class Three(TypedDict, total=False):
    """`first` is not used any more."""

    last: str
    document: str
    log: Annotated[list[str], operator.add]


def split(values: dict[str, Any]) -> dict[str, Any]:
    """From 1 to 2. It changes what it is given, as authors do."""
    if "name" in values:
        values["first"], values["last"] = values.pop("name").split(" ")
    if "log" in values:
        values["log"].append("migrated")
    return values


def shorten(values: dict[str, Any]) -> dict[str, Any]:
    """From 2 to 3."""
    return {name: value for name, value in values.items() if name != "first"}


STATES: Mapping[int, type] = {1: One, 2: Two, 3: Three}
MIGRATIONS: Mapping[int, Migration] = {1: split, 2: shorten}


def lineage(version: int, migrations: Mapping[int, Migration] = MIGRATIONS) -> Lineage:
    known = {begin: migration for begin, migration in migrations.items() if begin < version}
    return Lineage("names", Versions(version, "p", "t"), known)


def asking(saver: LogSaver, version: int, migrations: Mapping[int, Migration] = MIGRATIONS) -> kit.Graph:
    """The graph in a version: it begins, asks, and ends."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(STATES[version])
    builder.add_node("begin", lambda _: {"log": [f"begin {version}"]})
    builder.add_node("ask", lambda _: {"log": [f"{interrupt('sure?')} {version}"]})
    builder.add_node("end", lambda _: {"log": [f"end {version}"]})
    for before, after in ((START, "begin"), ("begin", "ask"), ("ask", "end"), ("end", END)):
        builder.add_edge(before, after)
    return builder.compile(checkpointer=saver.serving(lineage(version, migrations)))


GIVEN = {"name": "Ada Lovelace", "document": BIG, "log": []}
BROUGHT_UP = {"first": "Ada", "last": "Lovelace", "document": BIG}


async def values_of(graph: kit.Graph) -> list[dict[str, Any]]:
    return [snapshot.values async for snapshot in graph.aget_state_history(T)]


@pytest.fixture(params=["known", "forgotten"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the saver remembers the checkpoint that it writes after, or reads it again."""
    if request.param == "forgotten":
        monkeypatch.setattr(module, "KNOWN", 0)


@pytest.mark.usefixtures("memory")
async def test_a_run_is_taken_over_by_a_worker_of_the_next_version(saver: LogSaver, database: Database) -> None:
    """It was begun and asks under version 1; answered, version 2 ends it, from the state as version 2 has it."""
    await begun(database, "r")
    await asking(saver, 1).ainvoke(GIVEN, kit.claimed(T, "r"), durability="sync")
    await taken_over(database, "r")
    after, config = asking(saver, 2), kit.claimed(T, "r", 2)
    snapshot = await after.aget_state(T)
    assert snapshot.values == {**BROUGHT_UP, "log": ["begin 1", "migrated"]}
    assert [task.interrupts[0].value for task in snapshot.tasks] == ["sure?"]
    ended = await after.ainvoke(Command(resume="yes"), config, durability="sync")
    assert ended == {**BROUGHT_UP, "log": ["begin 1", "migrated", "yes 2", "end 2"]}
    assert (await asking(saver, 2).aget_state(T)).values == ended


async def test_history_is_brought_up_each_by_itself(saver: LogSaver, database: Database, commits: GroupCommit) -> None:
    """A list that many checkpoints share is migrated once for each of them; what version 2 wrote is not migrated."""
    graph = asking(saver, 1)
    await graph.ainvoke(GIVEN, T, durability="sync")
    await graph.aupdate_state(T, {"document": ""}, as_node="begin")
    await asking(saver, 2).ainvoke(Command(resume="yes"), T, durability="sync")
    for reading in (saver, LogSaver(database, commits)):
        logs = [values.get("log") for values in await values_of(asking(reading, 2))]
        assert logs == [
            ["begin 1", "migrated", "yes 2", "end 2"],
            ["begin 1", "migrated", "yes 2"],
            ["begin 1", "migrated"],
            ["begin 1", "migrated"],
            ["migrated"],
            [],
        ]


@pytest.mark.usefixtures("memory")
async def test_two_versions_are_passed_in_one_go(saver: LogSaver) -> None:
    await asking(saver, 1).ainvoke(GIVEN, T, durability="sync")
    ended = await asking(saver, 3).ainvoke(Command(resume="yes"), T, durability="sync")
    assert ended == {"last": "Lovelace", "document": BIG, "log": ["begin 1", "migrated", "yes 3", "end 3"]}


@pytest.mark.usefixtures("memory")
async def test_what_is_written_shares_nothing_with_older_versions(saver: LogSaver) -> None:
    """A new checkpoint holds all its values as its version has them; the next one shares them again."""
    await asking(saver, 1).ainvoke(GIVEN, T, durability="sync")
    graph = asking(saver, 2)
    await graph.aupdate_state(T, {"last": "Byron"}, as_node="begin")
    await saver.aprune(["t"])
    assert (await graph.aget_state(T)).values == {**BROUGHT_UP, "last": "Byron", "log": ["begin 1", "migrated"]}


@pytest.mark.parametrize(
    ("version", "migrations", "served"),
    [(1, MIGRATIONS, "1"), (3, {1: split}, "3"), (3, {}, "3")],
    ids=["newer", "a gap", "no way"],
)
async def test_another_version_is_refused(
    saver: LogSaver, version: int, migrations: Mapping[int, Migration], served: str
) -> None:
    """It is told which version was found and which are served; nothing is lost: version 2 goes on."""
    await asking(saver, 2).ainvoke({**BROUGHT_UP, "log": []}, T, durability="sync")
    graph = asking(saver, version, migrations)
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
    ended = await asking(saver, 2).ainvoke(Command(resume="yes"), T, durability="sync")
    assert ended["log"] == ["begin 2", "yes 2", "end 2"]


async def test_every_checkpoint_records_its_versions(saver: LogSaver) -> None:
    """Also updates and forks; one that records none is of version 1."""
    graph = asking(saver, 2)
    await graph.ainvoke({"log": []}, T, durability="sync")
    await graph.aupdate_state(T, {"log": ["update"]}, as_node="begin")
    expected = {"graph_version": 2, "prompts_version": "p", "tools_version": "t"}
    async for snapshot in graph.aget_state_history(T):
        assert expected.items() <= (snapshot.metadata or {}).items()
    await asking(saver, 1).ainvoke(GIVEN, kit.at("u"), durability="sync")
    await kit.put(saver, kit.at("v"), name="Ada Lovelace")
    assert (await graph.aget_state(kit.at("v"))).values == {"first": "Ada", "last": "Lovelace", "log": []}


async def test_delta_channels_pass_a_version(saver: LogSaver) -> None:
    """They are rebuilt from the writes of both versions. The writes are not migrated."""

    class Delta(TypedDict, total=False):
        log: Annotated[list[str], DeltaChannel(lambda value, writes: sum(writes, value or []), snapshot_frequency=3)]

    first = kit.chain(saver.serving(Lineage("delta", Versions(1))), Delta, kit.TWO)
    second = kit.chain(saver.serving(Lineage("delta", Versions(2), {1: dict})), Delta, kit.TWO)
    for name, graph in (("1", first), ("2", second), ("3", second)):
        await graph.ainvoke({"log": [name]}, T, durability="sync")
    assert (await second.aget_state(T)).values["log"] == ["1", "a", "b", "2", "a", "b", "3", "a", "b"]


async def test_subgraphs_are_as_they_were(saver: LogSaver) -> None:
    """Their values are not those that a graph's migrations know; an interrupted one goes on."""

    def only_the_graphs(values: dict[str, Any]) -> dict[str, Any]:
        assert "document" in values or "log" not in values
        return values

    given = {"document": BIG, "log": []}
    await kit.asking(saver.serving(lineage(1))).ainvoke(given, T, durability="sync")
    graph = kit.asking(saver.serving(lineage(2, {1: only_the_graphs})))
    ended = await graph.ainvoke(Command(resume="yes"), T, durability="sync")
    assert ended == {"document": BIG, "log": ["other", "ask", "end"], "answer": "yes"}
