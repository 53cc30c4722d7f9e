"""The outcome of a run: its output, or the error that it ended with."""

from typing import Any

from graphmesh.orchestrator.v1 import Run
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.status import from_status
from graphmesh_contracts import struct_value

from graphmesh_client.run_status import RunPhase, phase_of, status_name


class RunFailed(GraphmeshError):
    """The run ended without an output

    The attributes are those of the run's error. `cause` is that error: an instance of its own class, such as NotFound.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.cause = from_status(run.error)
        super().__init__(self.cause.message, retry_after=self.cause.retry_after, violations=self.cause.violations)
        self.code, self.reason, self.data = self.cause.code, self.cause.reason, self.cause.data
        self.may_have_happened = self.cause.may_have_happened


def output_of(run: Run) -> dict[str, Any]:
    """Return the output of a run that has ended.

    Raises:
        RunFailed: it failed, was cancelled or ran out of time.
        ValueError: it has not ended.
    """
    phase = phase_of(run.status)
    if phase is RunPhase.FAILED:
        raise RunFailed(run)
    if phase is not RunPhase.SUCCEEDED:
        raise ValueError(f"the run {run.run_id} has no output yet: it is {status_name(run.status)}")
    return struct_value(run.output)
