"""The status of a run: the one definition, from which SQL, messages and the memory twins read its values."""

from enum import StrEnum


class RunStatus(StrEnum):
    """The values are stored; their names are those of the proto's enum, without its prefix."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """Whether workers execute the run without anything else happening first."""
        return self in ACTIVE

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return not self.is_active and self is not RunStatus.INTERRUPTED


ACTIVE = (RunStatus.PENDING, RunStatus.RUNNING)
FINAL = tuple(status for status in RunStatus if status.is_final)
