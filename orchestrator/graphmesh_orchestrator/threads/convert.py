"""Conversion between messages and values of threads."""

from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.timestamps import to_timestamp

from graphmesh_orchestrator.runs.convert import duration, fill, interrupt_message
from graphmesh_orchestrator.threads.thread import Deleted, State, Task, Thread, ThreadStatus
from graphmesh_orchestrator.threads.threads import NEVER_EXPIRES

STATUSES = {status: pb.ThreadStatus.Value(f"THREAD_STATUS_{status.name}") for status in ThreadStatus}


def new_id(requested: str) -> str:
    return requested or f"th_{uuid4().hex}"


def ttl_seconds(time_to_live: Duration) -> float:
    """Return the time to live of a request, in which 0 means that the thread does not expire."""
    return time_to_live.ToNanoseconds() / 1e9 or NEVER_EXPIRES


def filter_status(number: int) -> ThreadStatus | None:
    return next((status for status, value in STATUSES.items() if value == number), None)


def thread_message(thread: Thread) -> pb.Thread:
    message = pb.Thread(
        thread_id=thread.thread_id,
        graph=thread.graph,
        status=STATUSES[thread.status],
        labels=thread.labels,
        create_time=to_timestamp(thread.created),
        update_time=to_timestamp(thread.updated),
    )
    if thread.time_to_live is not None:
        message.time_to_live.CopyFrom(duration(thread.time_to_live.total_seconds()))
    if thread.expires is not None:
        message.expire_time.CopyFrom(to_timestamp(thread.expires))
    return message


def _task_message(task: Task) -> pb.ThreadTask:
    return pb.ThreadTask(
        task_id=task.task_id,
        node=task.node,
        interrupts=[interrupt_message(interrupt) for interrupt in task.interrupts],
        namespace=task.namespace,
        state=state_message(task.state) if task.state else None,
    )


def state_message(state: State) -> pb.ThreadState:
    """Return the message of a state. What cannot be shown is absent, and named in `not_shown`."""
    message = pb.ThreadState(
        checkpoint_id=state.checkpoint_id,
        parent_checkpoint_id=state.parent_id,
        next=state.next,
        interrupts=[interrupt_message(interrupt) for interrupt in state.interrupts],
        not_shown=state.not_shown,
        tasks=[_task_message(task) for task in state.tasks],
    )
    reasons = (fill(message.values, state.values, "values"), fill(message.metadata, state.metadata, "metadata"))
    message.not_shown.extend(filter(None, reasons))
    if state.created is not None:
        message.create_time.CopyFrom(to_timestamp(state.created))
    return message


def deleted_message(deleted: Deleted) -> pb.PruneThreadsResponse:
    return pb.PruneThreadsResponse(threads=deleted.threads, runs=deleted.runs, checkpoints=deleted.checkpoints)
