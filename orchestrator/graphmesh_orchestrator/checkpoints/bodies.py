"""The bodies of packed values: of a value that was extended at its end, the body before is a prefix of the body after.

A packed list is its kind, a header with its length, and its elements one after the other; a mapping, a text and bytes
are built in the same way. The body is what follows the header. A value of any other kind is all body.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

MSGPACK: Final = b"msgpack"
EQUAL_PARTS = 8
"""Parts of about equal size at the end of a body that are stored as one: few parts are read, and a byte is stored again
each time that its part becomes some times as big."""
MAX_PART_BYTES = 128 * 1024
"""The most bytes of parts that are stored as one. However big a body becomes, a byte is stored a few times at most."""


@dataclass(frozen=True, slots=True)
class Part:
    """An artifact with the end of a body; the parts before it have the beginning."""

    digest: bytes
    """SHA-256 of the body up to the end of the part, and of the digest of the part before."""
    end: int
    """The bytes of the body up to the end of the part."""

    @property
    def name(self) -> str:
        """The artifact's name."""
        return f"value:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Body:
    """The identity of a body."""

    digest: bytes
    """SHA-256 of its kind and its bytes."""
    size: int
    parts: tuple[Part, ...] = ()
    """The artifacts that it is stored in, from its beginning; none: it is in the data of a row."""

    def stored_after(self, parts: Sequence[Part]) -> "Body":
        """Return the body with a part of its own, which follows the first ones of `parts`, with which it begins."""
        kept = tuple(parts[: _count_kept([part.end for part in parts], self.size)])
        digest = hashlib.sha256(kept[-1].digest + self.digest).digest() if kept else self.digest
        return replace(self, parts=(*kept, Part(digest, self.size)))


@dataclass(frozen=True, slots=True)
class Split:
    """A packed value in two: its header, and its body."""

    packed: bytes
    kind: bytes
    """Empty where nothing can be added to a value of its kind."""
    header_size: int

    @classmethod
    def of(cls, packed: bytes) -> "Split":
        kind, found, _ = packed.partition(b"\0")
        header_size = len(kind) + len(found)
        if kind in (b"bytes", b"bytearray"):
            return cls(packed, kind, header_size)
        if kind == MSGPACK and len(packed) > header_size:
            kind, length = _container(packed[header_size])
            return cls(packed, kind, header_size + length if kind else 0)
        return cls(packed, b"", 0)

    def body(self, after: Body | None) -> tuple[Body, bool]:
        """Return the identity of the body, and whether it begins with the body `after`, which has the same kind."""
        content = memoryview(self.packed)[self.header_size :]
        digest = hashlib.sha256(self.kind + b"\0" if self.kind else b"")
        begin = after.size if after and self.kind and after.size <= len(content) else 0
        digest.update(content[:begin])
        extends = bool(begin) and after is not None and digest.digest() == after.digest
        digest.update(content[begin:])
        return Body(digest.digest(), len(content)), extends

    def without(self, size: int) -> bytes:
        """Return the packed value without the first bytes of its body. `Split.of` splits it at the same place."""
        return self.packed[: self.header_size] + self.packed[self.header_size + size :]


def join(parts: list[bytes]) -> bytes:
    """Return the packed value of its parts, the last part first."""
    splits = [Split.of(part) for part in parts]
    bodies = [memoryview(split.packed)[split.header_size :] for split in splits]
    return b"".join([splits[0].packed[: splits[0].header_size], *reversed(bodies)])


def _count_kept(ends: Sequence[int], size: int) -> int:
    """Return how many parts, by their ends, a body of that size keeps; the bytes after them become one part."""
    ends, kept = [0, *ends], len(ends)
    while True:
        first = kept
        while first and _magnitude(ends[first] - ends[first - 1]) <= _magnitude(size - ends[kept]):
            first -= 1
        if kept - first < EQUAL_PARTS - 1 or size - ends[first] > MAX_PART_BYTES:
            return kept
        kept = first


def _magnitude(size: int) -> int:
    """Return the same number for sizes that differ by less than eight times."""
    return size.bit_length() // 3


def _container(first: int) -> tuple[bytes, int]:
    """Return the kind of a container of msgpack by its first byte, and the size of its header; empty for another."""
    for kind, short, wide in _CONTAINERS:
        if first in short:
            return kind, 1
        if first in wide:
            return kind, wide[first]
    return b"", 0


_CONTAINERS: Final = (
    (b"array", range(0x90, 0xA0), {0xDC: 3, 0xDD: 5}),
    (b"map", range(0x80, 0x90), {0xDE: 3, 0xDF: 5}),
    (b"str", range(0xA0, 0xC0), {0xD9: 2, 0xDA: 3, 0xDB: 5}),
)
"""The kind, the first bytes of those with up to 15 elements (31 bytes of text), and those of longer ones with the
sizes of their headers."""
