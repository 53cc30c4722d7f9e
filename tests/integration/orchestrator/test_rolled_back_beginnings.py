"""A run that is to begin at a checkpoint which was taken away meanwhile does not begin at nothing (B5, B7)."""

from graphmesh.orchestrator import v1 as pb
from graphmesh_contracts import struct_value

from tests.integration.orchestrator.kit import Kit
from tests.integration.orchestrator.test_multitask import ROLLBACK, Thread
from tests.integration.orchestrator.test_runs import reason


async def test_a_rollback_to_what_it_takes_back_is_refused(kit: Kit) -> None:
    """The checkpoint is of the run that is rolled back. The thread keeps the state that it had before that run."""
    thread = Thread(kit)
    thread.open("a", "c")
    first = await thread.ended(await thread.create("a"))
    taken_back = await thread.begun("b")
    last = await thread.ended(
        await thread.create("c", multitask_strategy=ROLLBACK, checkpoint_id=taken_back.checkpoint_id)
    )
    assert (last.status, reason(last)) == (pb.RunStatus.RUN_STATUS_ERROR, "RESOURCE_NOT_FOUND")
    state = await kit.client.threads.state(first.thread_id)
    assert struct_value(state.values)["notes"] == [thread.gate("a"), "done"]
