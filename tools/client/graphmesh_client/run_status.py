"""Phases of a run, by which clients and tools classify the values of RunStatus."""

from enum import Enum

from graphmesh.orchestrator.v1 import RunStatus


class RunPhase(Enum):
    """Class of a run's status, by which clients decide how to continue."""

    ACTIVE = "active"
    """The run will change its status by itself: it is pending or running."""
    PARKED = "parked"
    """The run waits until its interrupts are answered."""
    SUCCEEDED = "succeeded"
    """The run has ended with an output."""
    FAILED = "failed"
    """The run has ended with an error: every status that is none of the others."""


_PHASES = {
    RunStatus.RUN_STATUS_PENDING: RunPhase.ACTIVE,
    RunStatus.RUN_STATUS_RUNNING: RunPhase.ACTIVE,
    RunStatus.RUN_STATUS_INTERRUPTED: RunPhase.PARKED,
    RunStatus.RUN_STATUS_SUCCESS: RunPhase.SUCCEEDED,
}


def phase_of(status: RunStatus.ValueType) -> RunPhase:
    return _PHASES.get(status, RunPhase.FAILED)


def status_name(status: RunStatus.ValueType) -> str:
    """Return a status as people read it, such as `success`."""
    return RunStatus.Name(status).removeprefix("RUN_STATUS_").lower()


RUN_STATUS_NAMES = {status_name(status): status for status in RunStatus.values() if status}
"""The values of RunStatus by the names that people read."""
