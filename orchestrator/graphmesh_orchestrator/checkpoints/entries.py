"""What is given to the group commit to be stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa

from graphmesh_orchestrator.checkpoints.config_keys import Claim

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """What one writer wants stored: all of it or nothing."""

    claim: Claim | None = None
    """Stored only while this is the run's epoch."""
    checkpoints: Sequence[Row] = ()
    writes: Sequence[Row] = ()
    artifacts: Sequence[Row] = ()
    """What the checkpoints, or the writes, refer to."""
    events: Sequence[Row] = ()
    run: Row = field(default_factory=dict)
    """Columns of the claim's run to set: where it stands. Its lease is renewed with them."""
    further: Mapping[sa.Table, Sequence[Row]] = field(default_factory=dict)
    """Rows of other tables; one that is there already stays."""

    @property
    def is_patient(self) -> bool:
        return False

    @property
    def has_checkpoint(self) -> bool:
        return bool(self.checkpoints)

    @property
    def bytes(self) -> int:
        """Of its values."""
        return sum(len(row["data"]) for row in (*self.checkpoints, *self.writes, *self.artifacts))

    @classmethod
    def merged(cls, claim: Claim, entries: Sequence["Entry"]) -> "Entry":
        """What graphs leave, in one entry: checkpoints, writes, and what they refer to."""
        return cls(
            claim,
            checkpoints=[row for entry in entries for row in entry.checkpoints],
            writes=[row for entry in entries for row in entry.writes],
            artifacts=[row for entry in entries for row in entry.artifacts],
        )

    def taken(self) -> "Entry":
        return self


class Source(Protocol):
    """Something that is to be stored and that grows until it is."""

    @property
    def is_patient(self) -> bool:
        """Whether nobody waits for it: then it is stored some milliseconds later, with something else."""

    @property
    def has_checkpoint(self) -> bool:
        """Whether it is one that a superstep ends with: nothing else of the superstep comes after it."""

    def taken(self) -> Entry:
        """All that is there; called once, when its transaction begins."""
