"""The entries that the group commit stores."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from graphmesh_orchestrator.checkpoints.config_keys import RunEpoch
from graphmesh_orchestrator.checkpoints.rows import CheckpointRow, TaskWriteRow
from graphmesh_orchestrator.db.rows import ArtifactRow, DeliveryRow, EventRow, InterruptRow, RunUpdate


@dataclass(frozen=True)
class Entry:
    """Rows that one writer wants stored: all of them or none."""

    run_epoch: RunEpoch | None = None
    """The entry is stored only while this is the run's current epoch."""
    checkpoints: Sequence[CheckpointRow] = ()
    writes: Sequence[TaskWriteRow] = ()
    artifacts: Sequence[ArtifactRow] = ()
    """The artifacts that the checkpoints, or the writes, refer to."""
    events: Sequence[EventRow] = ()
    run: RunUpdate = field(default_factory=RunUpdate)
    """Columns of the run to set; its lease is renewed with them."""
    interrupts: Sequence[InterruptRow] = ()
    """The interrupts that the run parks on; one that is stored already stays as it is."""
    deliveries: Sequence[DeliveryRow] = ()

    @property
    def is_deferrable(self) -> bool:
        return False

    @property
    def is_complete(self) -> bool:
        return bool(self.checkpoints)

    @property
    def size(self) -> int:
        """The bytes of its checkpoints, writes and artifacts."""
        return sum(len(row["data"]) for row in (*self.checkpoints, *self.writes, *self.artifacts))

    @classmethod
    def merged(cls, run_epoch: RunEpoch, entries: Sequence["Entry"]) -> "Entry":
        """Merge the checkpoints, writes and artifacts of entries into one."""
        return cls(
            run_epoch,
            checkpoints=[row for entry in entries for row in entry.checkpoints],
            writes=[row for entry in entries for row in entry.writes],
            artifacts=[row for entry in entries for row in entry.artifacts],
        )

    def take(self) -> "Entry":
        return self


class Source(Protocol):
    """A writer whose entry grows until the transaction that stores it begins."""

    @property
    def is_deferrable(self) -> bool:
        """Whether no caller awaits it: then it is stored up to 100 ms later, with what follows it."""

    @property
    def is_complete(self) -> bool:
        """Whether no other write of its superstep follows: it has the checkpoint that ends it, or is awaited."""

    @property
    def size(self) -> int:
        """About the bytes of what `take` returns."""

    def take(self) -> Entry:
        """Return all that is to be stored. Called once, when the transaction begins."""


class Commits(Protocol):
    """The port of the group commit."""

    async def store(self, source: Source) -> None:
        """Return when the entry of `source` is committed. If the caller is cancelled, it is stored all the same.

        Raises:
            Fenced: the epoch is no longer the run's; nothing is stored.
            CheckpointConflict: another checkpoint follows the same parent; nothing is stored.
        """

    def wake(self) -> None:
        """Check again whether the sources are deferrable."""
