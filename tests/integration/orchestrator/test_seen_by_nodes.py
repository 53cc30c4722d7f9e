"""Nodes know their thread by its client's id; values that cannot be serialized are named with channel and node."""

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.status import from_status
from graphmesh_contracts import struct_value
from graphmesh_orchestrator.errors import StateUnreadable

from tests.integration.orchestrator.mesh import Mesh, reason, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """An orchestrator that serves the graph."""
    folder = tmp_path_factory.mktemp("seen")
    shutil.copy(Path(__file__).with_name("seen_graph.py"), folder)
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve_billing(folder))
        yield await stack.enter_async_context(serve_orchestrator(folder, served))


async def test_nodes_see_the_thread_that_the_client_knows(seen_mesh: Mesh) -> None:
    run = await seen_mesh.wait(await seen_mesh.create("seen_graph", {"place": "threads"}, thread_id="th_1"))
    assert struct_value(run.output)["threads"] == dict.fromkeys(
        ("configurable", "metadata", "runtime", "inner", "inner runtime"), "th_1"
    )


async def test_threads_of_equal_ids_are_separated_by_tenant(seen_mesh: Mesh) -> None:
    await seen_mesh.wait(await seen_mesh.create("seen_graph", {"place": "threads"}, thread_id="th_2"))
    async with seen_mesh.as_new_tenant() as other:
        run = await other.wait(await other.create("seen_graph", {"place": "threads"}, thread_id="th_2"))
        states = [state async for state in other.client.threads.history("th_2", 100)]
        assert (run.status, len(states)) == (pb.RunStatus.RUN_STATUS_SUCCESS, 4)


@pytest.mark.parametrize(
    ("place", "key", "node"),
    [
        ("sync_node", "value.items[1]", "sync_node"),
        ("async_node", "value.items[1]", "async_node"),
        ("command", "value", "command"),
        ("packet_writer", "sends[0].arg.value", "packet_writer"),
        ("send", "sends[0].arg.value", ""),
        ("reducer", "made", "reducer"),
        ("asks", "interrupt[0].value.value", "asks"),
        ("calls_task", "result.in", "work"),
        ("integer", "value.of", "integer"),
        ("cyclic", "value", "cyclic"),
    ],
)
async def test_value_that_cannot_be_serialized_is_named(seen_mesh: Mesh, place: str, key: str, node: str) -> None:
    run = await seen_mesh.run("seen_graph", place=place, made="plain")
    assert (reason(run), run.epoch) == ("VALUE_NOT_STORABLE", 1), run.error
    named = run.error.message.replace("sends.arg", "sends[0].arg").replace("interrupt.v", "interrupt[0].v")
    assert named.startswith(f"A value of the run cannot be stored: {key}"), run.error.message
    assert run.error.message.endswith(f"; the node {node} wrote it" if node else "Opaque"), run.error.message


async def test_state_with_a_class_that_no_longer_exists_is_named(
    seen_mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At resume, where the state is read, and in the history. The state is unchanged: the class reads it again."""
    parked = [await seen_mesh.run("seen_graph", place="orders") for _ in range(2)]
    with monkeypatch.context() as changed:
        changed.delattr(sys.modules["seen_graph"], "Order")
        run = await resumed(seen_mesh, parked[0])
        assert reason(run) == "STATE_UNREADABLE"
        cause = "the class seen_graph.Order cannot be read: the module has no Order at its top level"
        assert run.error.message == f"The state cannot be read: in value, {cause}. Nothing was changed"
        with pytest.raises(StateUnreadable, match=r"seen_graph\.Order"):
            await seen_mesh.client.threads.state(run.thread_id)
        listed = [state async for state in seen_mesh.client.threads.history(run.thread_id, 100)]
        assert [*listed[0].not_shown] == [f"values: cannot be read: STATE_UNREADABLE: in value, {cause}"]
    assert struct_value((await resumed(seen_mesh, parked[1])).output)["value"] == "Order"


async def resumed(mesh: Mesh, run: pb.Run) -> pb.Run:
    [interrupt] = run.interrupts
    return await mesh.wait(await mesh.resume(run, {interrupt.interrupt_id: "yes"}))


async def nodes_of(mesh: Mesh, run: pb.Run) -> list[tuple[str, str, bool]]:
    """The node events of a run: kind, node, and whether its result was cached."""
    events = [(event.WhichOneof("event"), event) for event in await mesh.events(run)]
    return [(kind, event.node, event.node_finished.cached) for kind, event in events if kind and "node" in kind]


async def test_cached_nodes_have_events(seen_mesh: Mesh) -> None:
    async with seen_mesh.as_new_tenant() as mesh:
        for is_cached in (False, True):
            run = await mesh.run("seen_graph", place="counted")
            assert struct_value(run.output)["value"] == "counted"
            assert await nodes_of(mesh, run) == [
                ("node_started", "counted", False),
                ("node_finished", "counted", is_cached),
            ]
    assert sys.modules["seen_graph"].CALLS == ["counted"]


async def test_error_handlers_have_events(seen_mesh: Mesh) -> None:
    run = await seen_mesh.run("seen_graph", place="failing")
    assert struct_value(run.output)["value"] == "ValueError of failing"
    [started, failed, *handled] = await nodes_of(seen_mesh, run)
    assert (started, failed) == (("node_started", "failing", False), ("node_finished", "failing", False))
    assert [kind for kind, _, _ in handled] == ["node_started", "node_finished"]
    errors = [event for event in await seen_mesh.events(run) if event.node_finished.HasField("error")]
    assert [(event.node, from_status(event.node_finished.error).data["type"]) for event in errors] == [
        ("failing", "ValueError")
    ]
