"""Operations of clients on the runs and the state of a thread, with the time and the outcome of each."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import CallerError, Defect, GraphmeshError, NotBegun
from graphmesh_client.run_status import status_name
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Multitask

ResultT = TypeVar("ResultT")


class OperationKind(StrEnum):
    """The call of a client, by what it means for the thread."""

    CREATE = "CreateRun"
    CANCEL = "CancelRun"
    READ = "GetRun"
    """Any call that returns the state of one run: GetRun, WaitRun, ResumeRun."""
    LIST = "ListRuns"
    """Of the runs of one thread."""
    EVENT = "StreamRun"
    """The receipt of one event; it states how far a run had come at least."""
    STATE = "GetThreadState"
    UPDATE = "UpdateThreadState"


WRITES = (OperationKind.CREATE, OperationKind.CANCEL, OperationKind.UPDATE)


@dataclass(frozen=True)
class SeenRun:
    """The state of a run, as a response has it."""

    request_id: str
    status: RunStatus
    epoch: int
    last_seq: int

    def __str__(self) -> str:
        return f"{self.request_id} {self.status} at seq {self.last_seq} of epoch {self.epoch}"


@dataclass(frozen=True)
class Operation:
    """A call, or one attempt of a call that was repeated. Times are those of the monotonic clock of one process."""

    kind: OperationKind
    thread_id: str
    invoked: float
    returned: float = math.inf
    """Infinite where the outcome is not known: the call may take effect at any time, or never."""
    request_id: str = ""
    """The run that is created, cancelled or read, by the request_id of its creation."""
    strategy: Multitask = Multitask.REJECT
    """Of a run that is created."""
    entry: str = ""
    """What an update appends to the thread's log."""
    reason: str = ""
    """The reason of a refusal; empty if the call was accepted, or its outcome is not known."""
    seen: Sequence[SeenRun] = ()
    """The states of runs that the response has."""
    log: Sequence[str] = ()
    """The thread's log that the response has."""

    @property
    def is_known(self) -> bool:
        return self.returned < math.inf

    def __str__(self) -> str:
        strategy = f" {self.strategy}" if self.kind is OperationKind.CREATE else ""
        response = "; ".join(map(str, self.seen)) or f"log {' '.join(self.log) or 'empty'}"
        outcome = self.reason or (response if self.is_known else "unknown outcome")
        call = f"{self.kind} {self.request_id or self.entry}{strategy}"
        return f"{self.invoked:.3f} to {self.returned:.3f} s: {call}: {outcome}"


class OperationRecorder:
    """Makes calls and records them as operations. Calls must not repeat themselves: each attempt is an operation."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.operations: list[Operation] = []
        self.defects: list[str] = []
        """Responses with an error that no call of a client may cause."""

    def now(self) -> float:
        return time.monotonic() - self._began

    async def record(
        self,
        kind: OperationKind,
        thread_id: str,
        call: Awaitable[ResultT],
        outcome: Callable[[ResultT], dict[str, Any]],
        **fields: Any,
    ) -> ResultT:
        """Await a call and record it, with the fields of its `outcome`.

        Raises:
            GraphmeshError: as the call does.
        """
        operation = Operation(kind, thread_id, self.now(), **fields)
        try:
            result = await call
        except CallerError as error:
            self.operations.append(replace(operation, returned=self.now(), reason=error.reason))
            raise
        except NotBegun:
            raise
        except GraphmeshError as error:
            if isinstance(error, Defect):
                self.defects.append(f"{kind} on {thread_id}: {error.reason} {error.message}")
            if kind in WRITES:
                self.operations.append(operation)
            raise
        self.operations.append(replace(operation, returned=self.now(), **outcome(result)))
        return result


def seen_run(run: pb.Run) -> SeenRun:
    return SeenRun(run.request_id, RunStatus(status_name(run.status)), run.epoch, run.last_seq)
