"""What people have agreed to, they have on one thread: a fork of it asks for itself (B7, B8; design invariant 8)."""

from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.kit import Kit
from tests.integration.orchestrator.test_approvals import (
    APPROVE,
    INTERRUPTED,
    SUCCESS,
    approval,
    invoice_of,
    parked,
    respond,
)


async def agreed(kit: Kit, run: pb.Run) -> pb.Run:
    """The run, after the one thing that it waits for was agreed to."""
    await respond(kit, (await approval(kit, run)).approval_id, APPROVE)
    return await kit.stopped(run.run_id)


async def test_a_fork_does_not_use_an_approval_again(kit: Kit) -> None:
    """The first of a node's two charges is agreed to and made. The fork still has the node before it: it asks twice."""
    run = await agreed(kit, await parked(kit, "approved_twice", 300))
    assert (run.status, await kit.charges(invoice_of(run))) == (INTERRUPTED, 1)
    fork = await kit.client.threads.fork(run.thread_id)
    again = await kit.stopped((await kit.create("approved_twice", thread_id=fork.thread_id)).run_id)
    assert (again.status, await kit.charges(invoice_of(run))) == (INTERRUPTED, 1)
    assert (await agreed(kit, await agreed(kit, again))).status == SUCCESS
    assert await kit.charges(invoice_of(run)) == 3
