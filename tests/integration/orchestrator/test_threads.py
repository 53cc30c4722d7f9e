"""Threads over gRPC: their states between runs, forks, deletion, other tenants (B7)."""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf import json_format
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.database import open_database
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import NotFound
from graphmesh_contracts import Rpc, struct_value
from graphmesh_orchestrator.checkpoints.tables import artifacts
from graphmesh_orchestrator.errors import CheckpointConflict, GraphNotFound, InvalidInput, ThreadBusy

from tests.integration.envoy.envoy_harness import eventually
from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.kit import Kit, billing_of, notes, orchestrating

IDLE, BUSY, INTERRUPTED = (
    pb.ThreadStatus.THREAD_STATUS_IDLE,
    pb.ThreadStatus.THREAD_STATUS_BUSY,
    pb.ThreadStatus.THREAD_STATUS_INTERRUPTED,
)


def _fields(rpc: Rpc[Any, Any]) -> set[str]:
    return {field.name for field in rpc.request.DESCRIPTOR.fields}


def _streams(rpc: Rpc[Any, Any]) -> bool:
    return bool(rpc.descriptor.server_streaming)


OF_A_THREAD = [
    rpc
    for rpc in vars(pb.ThreadService).values()
    if isinstance(rpc, Rpc) and "thread_id" in _fields(rpc) and rpc.method != "CreateThread"
]


async def ran(kit: Kit, thread_id: str = "th", **fields: Any) -> pb.Run:
    """A run that went through its gate, and ended."""
    GATES["open"].set()
    begun = await kit.create("gated", {"name": "open"}, thread_id=thread_id, **fields)
    return await kit.stopped(begun.run_id)


async def continued(kit: Kit, thread_id: str) -> list[str]:
    """What the nodes have noted when a run without input has gone on from the thread's state."""
    begun = await kit.create("gated", thread_id=thread_id)
    return notes(await kit.stopped(begun.run_id))


async def test_a_run_goes_on_from_an_updated_state(kit: Kit) -> None:
    """The update is as if a node had made it: what follows the node is what the next run does."""
    await ran(kit)
    state = await kit.client.threads.update_state("th", {"notes": ["by hand"]}, as_node="gate")
    assert list(state.next) == ["end"]
    assert struct_value(state.values) == {"name": "open", "notes": ["open", "done", "by hand"]}
    assert await continued(kit, "th") == ["open", "done", "by hand", "done"]


async def test_a_thread_can_have_a_state_before_its_first_run(kit: Kit) -> None:
    await kit.client.threads.create("th", graph="gated")
    GATES["open"].set()
    await kit.client.threads.update_state("th", {"name": "open"})
    assert await continued(kit, "th") == ["open", "done"]


async def test_a_fork_and_its_thread_go_separate_ways(kit: Kit) -> None:
    """From a checkpoint of the middle of a run; what the one does from there is not in the other."""
    run = await ran(kit)
    states = [state async for state in kit.client.threads.history("th")]
    at_gate = next(state for state in states if list(state.next) == ["end"])
    fork = await kit.client.threads.fork("th", checkpoint_id=at_gate.checkpoint_id, new_thread_id="fork")
    assert (fork.graph, fork.status) == ("gated", IDLE)
    assert await kit.client.threads.state("fork") == at_gate
    await kit.client.threads.update_state("fork", {"notes": ["fork"]}, as_node="gate")
    assert await continued(kit, "fork") == ["open", "fork", "done"]
    assert notes(await ran(kit)) == [*notes(run), "open", "done"]
    assert struct_value((await kit.client.threads.state("fork")).values)["notes"] == ["open", "fork", "done"]


async def test_history_goes_page_by_page(kit: Kit) -> None:
    """Each state once, each after its parent; the newest is what the thread is now, and the output of its run."""
    run = await ran(kit)
    states = [state async for state in kit.client.threads.history("th")]
    request = pb.ListThreadStatesRequest(thread_id="th", page_size=1)
    paged: list[pb.ThreadState] = []
    while not paged or request.page_token:
        page = await kit.channel.unary(pb.ThreadService.ListThreadStates, request, deadline=Deadline.after(30))
        paged += page.states
        request.page_token = page.next_page_token
    assert paged == states
    assert [state.parent_checkpoint_id for state in states] == [*(state.checkpoint_id for state in states[1:]), ""]
    assert await kit.client.threads.state("th") == states[0]
    assert struct_value(states[0].values) == struct_value(run.output)
    assert struct_value(states[0].metadata)["graphmesh_run"] == run.run_id


async def test_a_page_of_big_states_fits_into_a_message(kit: Kit) -> None:
    """It ends sooner than asked for, and the next one goes on; a state that is bigger comes alone."""
    await kit.client.threads.create("th", graph="gated")
    await kit.client.threads.update_state("th", {"name": "open"})
    for number in range(4):
        await kit.client.threads.update_state("th", {"notes": [str(number) * 700_000]}, as_node="end")
    request, sizes = pb.ListThreadStatesRequest(thread_id="th", page_size=500), list[int]()
    while not sizes or request.page_token:
        page = await kit.channel.unary(pb.ThreadService.ListThreadStates, request, deadline=Deadline.after(30))
        assert page.ByteSize() < 4 * 1024 * 1024
        request.page_token = page.next_page_token
        sizes.append(len(page.states))
    assert sizes == [1, 1, 1, 2]


async def test_a_thread_that_a_run_has_is_left_alone(kit: Kit) -> None:
    """It says so, and by whom; afterwards it can be changed and deleted (THREAD_BUSY)."""
    begun = await kit.create("gated", {"name": "shut"}, thread_id="th")
    assert (await kit.client.threads.get("th")).status == BUSY
    for change in (kit.client.threads.delete("th"), kit.client.threads.update_state("th", {}, as_node="gate")):
        with pytest.raises(ThreadBusy, match=begun.run_id):
            await change
    assert (await kit.client.threads.prune(0, delete=True)).threads == 0
    GATES["shut"].set()
    await kit.stopped(begun.run_id)
    assert (await kit.client.threads.get("th")).status == IDLE
    await kit.client.threads.delete("th")
    for gone in (kit.client.get_run(begun.run_id), kit.client.threads.state("th"), kit.events(begun.run_id)):
        with pytest.raises(NotFound):
            await gone


async def test_updates_and_runs_at_once_lose_nothing(kit: Kit) -> None:
    """What was answered is in the state, whoever came first; who was too late was told."""
    expected = notes(await ran(kit))
    for number in range(12):
        update = kit.client.threads.update_state("th", {"notes": [str(number)]}, as_node="end")
        updated, begun = await asyncio.gather(
            update, kit.create("gated", {"name": "open"}, thread_id="th"), return_exceptions=True
        )
        assert isinstance(begun, pb.Run)
        await kit.stopped(begun.run_id)
        assert isinstance(updated, pb.ThreadState | ThreadBusy | CheckpointConflict)
        expected += ["open", "done", *([str(number)] if isinstance(updated, pb.ThreadState) else [])]
    found = struct_value((await kit.client.threads.state("th")).values)["notes"]
    assert sorted(found) == sorted(expected)


async def test_a_parked_runs_thread_says_what_it_waits_for(kit: Kit) -> None:
    """The state has the run's questions; the thread is the run's until they are answered."""
    begun = await kit.create("ask_both", {"name": "x"}, thread_id="th")
    run = await kit.stopped(begun.run_id)
    [thread] = await kit.client.threads.find(status=INTERRUPTED)
    assert (thread.thread_id, thread.graph) == ("th", "ask_both")
    asked = (await kit.client.threads.state("th")).interrupts
    assert {one.interrupt_id for one in asked} == {one.interrupt_id for one in run.interrupts}
    with pytest.raises(ThreadBusy):
        await kit.client.threads.delete("th")


async def test_times_of_a_thread(kit: Kit) -> None:
    """It was used when its last run ended, and expires so long after that."""
    await kit.client.threads.create("th", graph="gated", labels={"team": "ink"}, time_to_live=3600)
    run = await ran(kit)
    thread = await kit.client.threads.get("th")
    assert (dict(thread.labels), thread.update_time) == ({"team": "ink"}, run.end_time)
    assert thread.expire_time.seconds - thread.update_time.seconds == 3600
    thread = await kit.client.threads.update("th", time_to_live=0)
    assert not thread.HasField("expire_time")


async def test_what_is_wrong_with_an_update_is_named(kit: Kit) -> None:
    """A field that the state does not have, a node that the graph does not have, a graph that is not registered."""
    await ran(kit)
    with pytest.raises(InvalidInput) as refused:
        await kit.client.threads.update_state("th", {"colour": "red"}, as_node="nobody")
    assert [violation.field for violation in refused.value.violations] == ["values.colour", "as_node"]
    with pytest.raises(GraphNotFound):
        await kit.client.threads.create("other", graph="nothing")


async def test_what_the_input_has_no_field_for_is_not_dropped(kit: Kit) -> None:
    """On a thread on which no node has written yet, an update is the graph's input."""
    await kit.client.threads.create("th", graph="gated")
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"values\.notes"):
            await kit.client.threads.update_state("th", {"notes": ["x"]})
        await kit.client.threads.update_state("th", {"name": "open"})
    state = await kit.client.threads.update_state("th", {"notes": ["z"]}, as_node="gate")
    assert struct_value(state.values) == {"name": "open", "notes": ["z"]}


async def test_pruning_says_how_much(kit: Kit) -> None:
    """A dry run changes nothing; deleting takes the runs along."""
    for name in ("a", "b"):
        await ran(kit, name)
    dry = await kit.client.threads.prune(0, dry_run=True)
    assert (dry.threads, dry.runs, dry.checkpoints) == (2, 0, 6)
    assert await kit.client.threads.prune(0) == dry
    assert await kit.client.threads.prune(3600, delete=True) == pb.PruneThreadsResponse()
    deleted = await kit.client.threads.prune(0, delete=True)
    assert (deleted.threads, deleted.runs, deleted.checkpoints) == (2, 2, 2)
    assert await kit.client.threads.find() == []


async def test_an_artifact_is_streamed(kit: Kit) -> None:
    """In parts, of which the first says what it is."""
    data = bytes(range(256)) * 3000
    digest = hashlib.sha256(data).hexdigest()
    row = {"thread_id": "default/th", "name": f"artifact:{digest}", "media_type": "application/pdf", "stamp": 1}
    url = f"sqlite+aiosqlite:///{kit.folder}/orchestrator.db"
    async with open_database(url) as database, database.transaction() as connection:
        await connection.execute(sa.insert(artifacts).values(**row, data=data))
    await kit.client.threads.create("th")
    request = pb.ReadArtifactRequest(thread_id="th", digest=digest)
    parts = [
        part async for part in kit.channel.stream(pb.ThreadService.ReadArtifact, request, deadline=Deadline.after(30))
    ]
    assert [part.media_type for part in parts] == ["application/pdf", "", ""]
    assert await kit.client.threads.artifact("th", digest) == data
    with pytest.raises(NotFound, match="artifact"):
        await kit.client.threads.artifact("th", digest[::-1])


@pytest.mark.parametrize("rpc", OF_A_THREAD, ids=lambda rpc: rpc.method)
async def test_another_tenant_sees_nothing(kit: Kit, rpc: Rpc[Any, Any]) -> None:
    """NOT_FOUND, as if there was none."""
    await ran(kit)
    given = {"thread_id": "th", "digest": "0" * 64, "as_node": "gate"}
    known = {name: value for name, value in given.items() if name in _fields(rpc)}
    request = json_format.ParseDict(known, rpc.request())
    headers = [("x-graphmesh-tenant", "other")]
    stream = kit.channel.stream(rpc, request, deadline=Deadline.after(30), headers=headers)
    with pytest.raises(NotFound, match="thread th"):
        await (
            anext(aiter(stream))
            if _streams(rpc)
            else kit.channel.unary(rpc, request, deadline=Deadline.after(30), headers=headers)
        )
    listed = await kit.channel.unary(
        pb.ThreadService.ListThreads, pb.ListThreadsRequest(), deadline=Deadline.after(30), headers=headers
    )
    assert not listed.threads


async def test_an_orchestrator_deletes_what_is_over(tmp_path: Path) -> None:
    """In the background: a thread past its time to live, and an old run of a thread that stays."""
    async with billing_of(tmp_path) as served:
        async with orchestrating(tmp_path, served) as kit:
            await kit.client.threads.create("over", time_to_live=0.001)
            run = await ran(kit, "stays")
        async with orchestrating(tmp_path, served, run_retention_seconds=0.001) as kit:
            await eventually(lambda: _is_gone(kit.client.threads.get("over")))
            await eventually(lambda: _is_gone(kit.client.get_run(run.run_id)))
            assert struct_value((await kit.client.threads.state("stays")).values) == struct_value(run.output)


async def _is_gone(read: Awaitable[object]) -> bool:
    with contextlib.suppress(NotFound):
        await read
        return False
    return True
