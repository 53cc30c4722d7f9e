"""Threads over gRPC: states, forks, deletion, pruning, tenants."""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.database import open_database
from graphmesh_chassis.errors import InvalidInput, NotFound
from graphmesh_contracts import Method, Rpc, StreamingRpc, struct_value
from graphmesh_orchestrator.db.tables import artifacts
from graphmesh_orchestrator.errors import CheckpointConflict, GraphNotFound, ThreadBusy

from tests.integration.envoy.envoy_harness import eventually
from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.mesh import Mesh, notes, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDLE, BUSY, INTERRUPTED = (
    pb.ThreadStatus.THREAD_STATUS_IDLE,
    pb.ThreadStatus.THREAD_STATUS_BUSY,
    pb.ThreadStatus.THREAD_STATUS_INTERRUPTED,
)


def fields_of(rpc: Method[Any, Any]) -> set[str]:
    return {field.name for field in rpc.request.DESCRIPTOR.fields}


RPCS_OF_A_THREAD = [
    rpc
    for rpc in vars(pb.ThreadService).values()
    if isinstance(rpc, Method) and "thread_id" in fields_of(rpc) and rpc.method != "CreateThread"
]


async def run_gated(mesh: Mesh, thread_id: str = "th", **fields: Any) -> pb.Run:
    """Run `gated` on the thread, with its gate open, until it has ended."""
    GATES["open"].set()
    return await mesh.wait(await mesh.create("gated", {"name": "open"}, thread_id=thread_id, **fields))


async def continue_thread(mesh: Mesh, thread_id: str) -> list[str]:
    """Run `gated` without input from the thread's state, and return the notes of the state."""
    return notes(await mesh.wait(await mesh.create("gated", thread_id=thread_id)))


async def test_run_continues_from_an_updated_state(mesh: Mesh) -> None:
    """The update counts as written by a node: the next run begins with what follows that node."""
    await run_gated(mesh)
    state = await mesh.client.threads.update_state("th", {"notes": ["by hand"]}, as_node="gate")
    assert list(state.next) == ["end"]
    assert struct_value(state.values) == {"name": "open", "notes": ["open", "done", "by hand"]}
    assert await continue_thread(mesh, "th") == ["open", "done", "by hand", "done"]


async def test_thread_can_have_a_state_before_its_first_run(mesh: Mesh) -> None:
    await mesh.client.threads.create("th", graph="gated")
    GATES["open"].set()
    await mesh.client.threads.update_state("th", {"name": "open"})
    assert await continue_thread(mesh, "th") == ["open", "done"]


async def test_fork_is_independent_of_its_thread(mesh: Mesh) -> None:
    """It begins from a checkpoint in the middle of a run. Later changes of the one are not in the other."""
    run = await run_gated(mesh)
    states = [state async for state in mesh.client.threads.history("th")]
    at_gate = next(state for state in states if list(state.next) == ["end"])
    fork = await mesh.client.threads.fork("th", checkpoint_id=at_gate.checkpoint_id, new_thread_id="fork")
    assert (fork.graph, fork.status) == ("gated", IDLE)
    assert await mesh.client.threads.state("fork") == at_gate
    await mesh.client.threads.update_state("fork", {"notes": ["fork"]}, as_node="gate")
    assert await continue_thread(mesh, "fork") == ["open", "fork", "done"]
    assert notes(await run_gated(mesh)) == [*notes(run), "open", "done"]
    assert struct_value((await mesh.client.threads.state("fork")).values)["notes"] == ["open", "fork", "done"]


async def test_history_is_listed_in_pages(mesh: Mesh) -> None:
    """Each state once, newest first. The newest is the thread's present state and the output of its run."""
    run = await run_gated(mesh)
    states = [state async for state in mesh.client.threads.history("th")]
    request = pb.ListThreadStatesRequest(thread_id="th", page_size=1)
    paged: list[pb.ThreadState] = []
    while not paged or request.page_token:
        page = await mesh.call(pb.ThreadService.ListThreadStates, request)
        paged += page.states
        request.page_token = page.next_page_token
    assert paged == states
    assert [state.parent_checkpoint_id for state in states] == [*(state.checkpoint_id for state in states[1:]), ""]
    assert await mesh.client.threads.state("th") == states[0]
    assert struct_value(states[0].values) == struct_value(run.output)
    assert struct_value(states[0].metadata)["graphmesh_run"] == run.run_id


async def test_history_is_listed_as_summaries(mesh: Mesh) -> None:
    """All of each state but its values, in one page, however big the states are."""
    await run_gated(mesh)
    for number in range(4):
        await mesh.client.threads.update_state("th", {"notes": [str(number) * 700_000]}, as_node="end")
    expected = [state async for state in mesh.client.threads.history("th")]
    for state in expected:
        state.ClearField("values")
    request = pb.ListThreadStatesRequest(thread_id="th", view=pb.ThreadStateView.THREAD_STATE_VIEW_BASIC)
    page = await mesh.call(pb.ThreadService.ListThreadStates, request)
    assert page.ByteSize() < 10_000
    assert not any(struct_value(state.values) for state in page.states)
    for state in page.states:
        state.ClearField("values")
    assert list(page.states) == expected


async def test_page_of_large_states_fits_into_a_message(mesh: Mesh) -> None:
    """It has fewer states than requested, at least one, and the next page continues."""
    await mesh.client.threads.create("th", graph="gated")
    await mesh.client.threads.update_state("th", {"name": "open"})
    for number in range(4):
        await mesh.client.threads.update_state("th", {"notes": [str(number) * 700_000]}, as_node="end")
    request, sizes = pb.ListThreadStatesRequest(thread_id="th", page_size=500), list[int]()
    while not sizes or request.page_token:
        page = await mesh.call(pb.ThreadService.ListThreadStates, request)
        assert page.ByteSize() < 4 * 1024 * 1024
        request.page_token = page.next_page_token
        sizes.append(len(page.states))
    assert sizes == [1, 1, 1, 2]


async def test_thread_with_a_run_cannot_be_changed(mesh: Mesh) -> None:
    """The error names the run. When the run has ended the thread can be deleted, with its run and states."""
    begun = await mesh.create("gated", {"name": "shut"}, thread_id="th")
    assert (await mesh.client.threads.get("th")).status == BUSY
    for change in (mesh.client.threads.delete("th"), mesh.client.threads.update_state("th", {}, as_node="gate")):
        with pytest.raises(ThreadBusy, match=begun.run_id):
            await change
    assert (await mesh.client.threads.prune(0, delete=True)).threads == 0
    GATES["shut"].set()
    await mesh.wait(begun)
    assert (await mesh.client.threads.get("th")).status == IDLE
    await mesh.client.threads.delete("th")
    for read in (mesh.client.get_run(begun.run_id), mesh.client.threads.state("th"), mesh.events(begun)):
        with pytest.raises(NotFound):
            await read


async def test_concurrent_updates_and_runs_lose_nothing(mesh: Mesh) -> None:
    """Each accepted update is in the state, before or after the run; each other one is refused."""
    expected = notes(await run_gated(mesh))
    for number in range(12):
        update = mesh.client.threads.update_state("th", {"notes": [str(number)]}, as_node="end")
        updated, begun = await asyncio.gather(
            update, mesh.create("gated", {"name": "open"}, thread_id="th"), return_exceptions=True
        )
        assert isinstance(begun, pb.Run)
        await mesh.wait(begun)
        assert isinstance(updated, pb.ThreadState | ThreadBusy | CheckpointConflict)
        expected += ["open", "done", *([str(number)] if isinstance(updated, pb.ThreadState) else [])]
    found = struct_value((await mesh.client.threads.state("th")).values)["notes"]
    assert sorted(found) == sorted(expected)


async def test_state_of_a_parked_run_has_its_interrupts(mesh: Mesh) -> None:
    """The run keeps the thread until they are answered."""
    run = await mesh.wait(await mesh.create("ask_both", {"name": "x"}, thread_id="th"))
    [thread] = await mesh.client.threads.find(status=INTERRUPTED)
    assert (thread.thread_id, thread.graph) == ("th", "ask_both")
    interrupts = (await mesh.client.threads.state("th")).interrupts
    assert {one.interrupt_id for one in interrupts} == {one.interrupt_id for one in run.interrupts}
    with pytest.raises(ThreadBusy):
        await mesh.client.threads.delete("th")


async def test_time_to_live_counts_from_the_end_of_the_last_run(mesh: Mesh) -> None:
    await mesh.client.threads.create("th", graph="gated", labels={"team": "ink"}, time_to_live=3600)
    run = await run_gated(mesh)
    thread = await mesh.client.threads.get("th")
    assert (dict(thread.labels), thread.update_time) == ({"team": "ink"}, run.end_time)
    assert thread.expire_time.seconds - thread.update_time.seconds == 3600
    thread = await mesh.client.threads.update("th", time_to_live=0)
    assert not thread.HasField("expire_time")


async def test_invalid_update_is_refused(mesh: Mesh) -> None:
    """For a field that the state does not have, an unknown node, or an unknown graph."""
    await run_gated(mesh)
    with pytest.raises(InvalidInput) as refused:
        await mesh.client.threads.update_state("th", {"colour": "red"}, as_node="unknown")
    assert [violation.field for violation in refused.value.violations] == ["values.colour", "as_node"]
    with pytest.raises(GraphNotFound):
        await mesh.client.threads.create("other", graph="nothing")


async def test_update_that_the_input_schema_does_not_allow_is_refused(mesh: Mesh) -> None:
    """An update is the graph's input until a node has written to the thread."""
    await mesh.client.threads.create("th", graph="gated")
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"values\.notes"):
            await mesh.client.threads.update_state("th", {"notes": ["x"]})
        await mesh.client.threads.update_state("th", {"name": "open"})
    state = await mesh.client.threads.update_state("th", {"notes": ["z"]}, as_node="gate")
    assert struct_value(state.values) == {"name": "open", "notes": ["z"]}


async def test_pruning_returns_counts(mesh: Mesh) -> None:
    """A dry run changes nothing. Deletion of threads deletes their runs."""
    for name in ("a", "b"):
        await run_gated(mesh, name)
    dry = await mesh.client.threads.prune(0, dry_run=True)
    assert (dry.threads, dry.runs, dry.checkpoints) == (2, 0, 6)
    assert await mesh.client.threads.prune(0) == dry
    assert await mesh.client.threads.prune(3600, delete=True) == pb.PruneThreadsResponse()
    deleted = await mesh.client.threads.prune(0, delete=True)
    assert (deleted.threads, deleted.runs, deleted.checkpoints) == (2, 2, 2)
    assert await mesh.client.threads.find() == []


async def test_artifact_is_streamed_in_parts(mesh: Mesh) -> None:
    """The first part has the media type."""
    data = bytes(range(256)) * 3000
    digest = hashlib.sha256(data).hexdigest()
    row = {"thread_id": f"{mesh.tenant}/th", "name": f"artifact:{digest}", "media_type": "application/pdf", "stamp": 1}
    url = f"sqlite+aiosqlite:///{mesh.folder}/orchestrator.db"
    async with open_database(url) as database, database.transaction() as connection:
        await connection.execute(sa.insert(artifacts).values(**row, data=data))
    await mesh.client.threads.create("th")
    request = pb.ReadArtifactRequest(thread_id="th", digest=digest)
    parts = [part async for part in mesh.stream(pb.ThreadService.ReadArtifact, request)]
    assert [part.media_type for part in parts] == ["application/pdf", "", ""]
    assert await mesh.client.threads.artifact("th", digest) == data
    with pytest.raises(NotFound, match="artifact"):
        await mesh.client.threads.artifact("th", digest[::-1])


@pytest.mark.parametrize("rpc", RPCS_OF_A_THREAD, ids=lambda rpc: rpc.method)
async def test_thread_of_another_tenant_is_not_found(mesh: Mesh, rpc: Method[Any, Any]) -> None:
    await run_gated(mesh)
    given = {"thread_id": "th", "digest": "0" * 64, "as_node": "gate"}
    known = {name: value for name, value in given.items() if name in fields_of(rpc)}
    request = json_format.ParseDict(known, rpc.request())
    with pytest.raises(NotFound, match="thread th"):
        await (
            anext(mesh.stream(rpc, request, tenant="other"))
            if isinstance(rpc, StreamingRpc)
            else mesh.call(cast(Rpc[Any, Any], rpc), request, tenant="other")
        )
    listed = await mesh.call(pb.ThreadService.ListThreads, pb.ListThreadsRequest(), tenant="other")
    assert not listed.threads


async def test_expired_threads_and_old_runs_are_deleted(tmp_path: Path) -> None:
    """In the background: a thread after its time to live, and an old run of a thread that is kept."""
    async with serve_billing(tmp_path) as billing:
        async with serve_orchestrator(tmp_path, billing) as mesh:
            await mesh.client.threads.create("expired", time_to_live=0.001)
            run = await run_gated(mesh, "kept")
        async with serve_orchestrator(tmp_path, billing, run_retention_seconds=0.001) as mesh:
            await eventually(lambda: is_not_found(mesh.client.threads.get("expired")))
            await eventually(lambda: is_not_found(mesh.client.get_run(run.run_id)))
            assert struct_value((await mesh.client.threads.state("kept")).values) == struct_value(run.output)


async def is_not_found(read: Awaitable[object]) -> bool:
    with contextlib.suppress(NotFound):
        await read
        return False
    return True
