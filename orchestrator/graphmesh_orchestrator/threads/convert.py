"""Between the protobuf messages of threads and their values. Protobuf stops here."""

from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from graphmesh.orchestrator import v1 as pb

from graphmesh_orchestrator.runs.convert import duration, interrupt_message, struct, timestamp
from graphmesh_orchestrator.threads.thread import Removed, State, Thread, ThreadStatus
from graphmesh_orchestrator.threads.threads_sql import FOR_EVER

STATUSES = {status: pb.ThreadStatus.Value(f"THREAD_STATUS_{status.name}") for status in ThreadStatus}


def new_id(asked: str) -> str:
    return asked or f"th_{uuid4().hex}"


def seconds(stated: Duration) -> float:
    """A time to live that a request states, where 0 is for ever."""
    return stated.ToNanoseconds() / 1e9 or FOR_EVER


def wanted_status(number: int) -> ThreadStatus | None:
    return next((status for status, known in STATUSES.items() if known == number), None)


def thread_message(thread: Thread) -> pb.Thread:
    message = pb.Thread(
        thread_id=thread.thread_id,
        graph=thread.graph,
        status=STATUSES[thread.status],
        labels=thread.labels,
        create_time=timestamp(thread.created),
        update_time=timestamp(thread.updated),
    )
    if thread.time_to_live is not None:
        message.time_to_live.CopyFrom(duration(thread.time_to_live.total_seconds()))
    if thread.expires is not None:
        message.expire_time.CopyFrom(timestamp(thread.expires))
    return message


def state_message(state: State) -> pb.ThreadState:
    message = pb.ThreadState(
        checkpoint_id=state.checkpoint_id,
        parent_checkpoint_id=state.parent_id,
        values=struct(state.values),
        next=state.next,
        interrupts=[interrupt_message(asked) for asked in state.interrupts],
        metadata=struct(state.metadata),
    )
    if state.created is not None:
        message.create_time.CopyFrom(timestamp(state.created))
    return message


def removed_message(removed: Removed) -> pb.PruneThreadsResponse:
    return pb.PruneThreadsResponse(threads=removed.threads, runs=removed.runs, checkpoints=removed.checkpoints)
