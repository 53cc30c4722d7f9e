"""Rows of the checkpoint log and its artifacts, as they are written."""

from typing import TypedDict


class RowIdentity(TypedDict):
    """The columns that state where a row of the log belongs, which run wrote it, and its order."""

    thread_id: str
    ns: str
    checkpoint_id: str
    run_id: str | None
    stamp: int


class LogRow(RowIdentity):
    """The columns that `checkpoints` and `task_writes` share."""

    data: bytes
    refers: list[str] | None


class CheckpointRow(LogRow):
    """A row of `checkpoints`."""

    parent_id: str | None
    follows: str | None
    head: bytes


class TaskWriteRow(LogRow):
    """A row of `task_writes`."""

    task_id: str
    task_path: str
