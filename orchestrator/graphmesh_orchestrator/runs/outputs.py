"""Outputs of runs as they are stored: long lists in blocks, which the runs of a thread share.

A chat graph returns all messages of its thread. Stored whole in each run, a conversation would take the square of its
length. A list is cut at multiples of powers of eight into blocks, whose names are digests: as it grows at its end, its
earlier blocks stay the same, and each element is stored a few times in all. What remains at the end, fewer than eight
elements, is in the row of the run.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from graphmesh_chassis.database import UnreadableJson

from graphmesh_orchestrator.db.rows import ArtifactRow

PREFIX = "output:"
"""The beginning of the names of blocks."""
RATIO = 8
"""The elements of the smallest blocks, and how many blocks of a size make one of the next."""
MIN_BYTES = 4096
"""Blocks are made of a list that has more bytes of JSON in blocks than that."""
MAX_BLOCK_BYTES = 128 * 1024
"""The most bytes of a block that is made of smaller ones."""
SPANS = (1, RATIO, RATIO**2, RATIO**3)
"""The numbers of the smallest blocks that a block has."""
Blocks = dict[str, list[str]]
"""The names of the blocks with which lists begin, by the member of the output."""


@dataclass
class StoredOutput:
    """An output as it is stored."""

    output: dict[str, Any] | None
    """With the elements of lists that are in no block."""
    blocks: Blocks = field(default_factory=dict)
    artifacts: list[ArtifactRow] = field(default_factory=list)

    @classmethod
    def of(cls, output: dict[str, Any] | None, thread_id: str) -> "StoredOutput":
        """`thread_id` is the name of the run's thread in checkpoints."""
        stored = cls(output)
        for member, value in (output or {}).items():
            if isinstance(value, list) and len(value) >= RATIO:
                stored._add(member, value, thread_id)
        return stored

    def _add(self, member: str, value: list[Any], thread_id: str) -> None:
        whole = len(value) - len(value) % RATIO
        smallest = [json.dumps(value[begin : begin + RATIO])[1:-1] for begin in range(0, whole, RATIO)]
        if sum(map(len, smallest)) <= MIN_BYTES:
            return
        blocks = [f"[{block}]".encode() for block in _merged(smallest)]
        names = [PREFIX + hashlib.sha256(block).hexdigest() for block in blocks]
        self.output = {**(self.output or {}), member: value[whole:]}
        self.blocks[member] = names
        self.artifacts += [_row(thread_id, name, data) for name, data in zip(names, blocks, strict=True)]


def _merged(blocks: Sequence[str]) -> Sequence[str]:
    """Join as many blocks as possible at each multiple of their number, up to the bound of a block."""
    ends, begin, merged = [0, *accumulate(map(len, blocks))], 0, []
    while begin < len(blocks):
        end = max(begin + span for span in SPANS if _is_block(ends, begin, span))
        merged.append(", ".join(blocks[begin:end]))
        begin = end
    return merged


def _is_block(ends: Sequence[int], begin: int, span: int) -> bool:
    """Whether so many of the smallest blocks are stored as one, where there are so many."""
    end = begin + span
    fits = begin % span == 0 and end < len(ends) and ends[end] - ends[begin] <= MAX_BLOCK_BYTES
    return fits or span == 1


def _row(thread_id: str, name: str, data: bytes) -> ArtifactRow:
    stamp = time.time_ns()
    return {"thread_id": thread_id, "name": name, "media_type": "", "stamp": stamp, "base": None, "data": data}


def joined(output: Mapping[str, Any], blocks: Blocks, data: Mapping[str, bytes]) -> dict[str, Any]:
    """Return an output as it was before it was stored. `data` are the blocks by name."""
    try:
        return {
            member: [element for name in blocks.get(member, ()) for element in json.loads(data[name])] + value
            if member in blocks
            else value
            for member, value in output.items()
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return UnreadableJson()
