"""Stores an update of a thread's state under the thread's lock."""

import sqlalchemy as sa
from graphmesh_chassis import audit_log
from graphmesh_chassis.database import Database
from graphmesh_contracts.keys import checkpoint_thread, is_breakpoint
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_orchestrator.checkpoints.deferred_commit import DeferredCommit
from graphmesh_orchestrator.checkpoints.tables import checkpoints
from graphmesh_orchestrator.db.clock import read_clock
from graphmesh_orchestrator.db.tables import interrupts, runs, threads
from graphmesh_orchestrator.errors import CheckpointConflict, ThreadBusy
from graphmesh_orchestrator.interrupts.interrupts import PENDING
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.threads.thread import Thread
from graphmesh_orchestrator.threads.threads_sql import is_thread, lock, occupant


async def store_update(
    database: Database, thread: Thread, deferred: DeferredCommit, ns: str, parent_id: str, *, is_newest: bool
) -> None:
    """Store deferred writes in one transaction, if the parent exists, and is the newest checkpoint of its
    namespace where it was that.

    Raises:
        NotFound: the thread was deleted.
        ThreadBusy: a run holds the thread, or waits for it; one that is parked at a breakpoint lets the newest state
            be updated.
        CheckpointConflict: the parent was pruned, or is no longer the newest.
    """
    async with database.transaction() as connection:
        await lock(connection, thread.tenant, thread.thread_id)
        run_id = await occupant(connection, thread.tenant, thread.thread_id)
        if run_id and not (is_newest and await _is_at_breakpoint(connection, run_id)):
            raise ThreadBusy(thread=thread.thread_id, run=run_id)
        await _require_parent(connection, thread, ns, parent_id, is_newest=is_newest)
        await deferred.write(connection)
        used = sa.update(threads).where(*is_thread(thread.tenant, thread.thread_id))
        await connection.execute(used.values(used=await read_clock(connection)))
        await audit_log.record_current(connection, run=run_id or "", thread=thread.thread_id, detail=parent_id)


async def _is_at_breakpoint(connection: AsyncConnection, run_id: str) -> bool:
    """Whether a run is parked at a breakpoint alone. Its row is locked, so that it does not resume meanwhile."""
    locked = sa.select(runs.c.status, runs.c.cancel_reason).where(runs.c.run_id == run_id)
    run = (await connection.execute(locked.with_for_update(key_share=True))).one()
    if run.status != RunStatus.INTERRUPTED or run.cancel_reason:
        return False
    query = sa.select(interrupts.c.value).where(interrupts.c.run_id == run_id, interrupts.c.status == PENDING)
    questions = (await connection.execute(query)).scalars().all()
    return bool(questions) and all(map(is_breakpoint, questions))


async def _require_parent(
    connection: AsyncConnection, thread: Thread, ns: str, parent_id: str, *, is_newest: bool
) -> None:
    """Raises CheckpointConflict."""
    in_graph = (checkpoints.c.thread_id == checkpoint_thread(thread.tenant, thread.thread_id), checkpoints.c.ns == ns)
    query = sa.select(checkpoints.c.checkpoint_id).where(*in_graph, checkpoints.c.head.is_not(None))
    if not is_newest:
        query = query.where(checkpoints.c.checkpoint_id == parent_id)
    found = (await connection.execute(query.order_by(checkpoints.c.stamp.desc()).limit(1))).scalar() or ""
    if found != parent_id:
        raise CheckpointConflict(thread=thread.thread_id, parent=parent_id or "none")
