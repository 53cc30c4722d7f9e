"""The inverted index: for each term the passages that have it, in blocks of passages.

A posting is an integer of 32 bits: the passage's place in its block (16 bits), the term's weighted frequency in it (8)
and the length of its text on a logarithmic scale (8). A row of the index holds the postings of one term in one block,
in the order of the passages' numbers; new postings are appended. Rows are binary, so both databases and memory have the
same index, and NumPy scores hundreds of thousands of postings in milliseconds.

Marks are terms that no word has: they hold the passages that a search must not find.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from graphmesh_retrieval.analysis.terms import term_of
from graphmesh_retrieval.domain import IndexedPassage

BLOCK_PASSAGES: Final = 16_384
"""Passages of a block. A row of a common term has up to 64 KB, and is rewritten when passages are added."""
MAX_WEIGHT: Final = 255
LENGTH_STEPS: Final = 16
"""Steps of the logarithmic scale for the length of a text, for each doubling."""

DEAD: Final = term_of("\0dead")
"""The mark of passages that were deleted or replaced."""
GONE: Final = term_of("\0gone")
"""The mark of passages that no search of the past finds either: compaction removes their postings."""
RESTRICTED: Final = term_of("\0restricted")
"""The mark of passages that not every caller may find."""
ANY_SCOPE: Final = term_of("\0any scope")
"""The mark of passages that some scope may find."""

Postings = NDArray[np.uint32]


@dataclass(frozen=True)
class NewPostings:
    """The postings to append to rows, ordered by block and term: for each row the block, the term and the size."""

    blocks: Sequence[int]
    terms: Sequence[int]
    sizes: Sequence[int]
    """The numbers of entries."""
    entries: bytes
    """The entries of all rows, one after the other."""

    def rows(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield the block, term, size and entries of each row."""
        begin = 0
        for block, term, size in zip(self.blocks, self.terms, self.sizes, strict=True):
            end = begin + 4 * size
            yield block, term, size, self.entries[begin:end]
            begin = end


def reader_mark(reader: str) -> int:
    """Return the mark of the passages that a reader (`subject:…`, `scope:…`) may find."""
    return term_of(f"\0reader {reader}")


def length_code(length: int) -> int:
    return min(255, round(LENGTH_STEPS * float(np.log2(1 + length))))


LENGTHS: Final = np.exp2(np.arange(256) / LENGTH_STEPS) - 1
"""The length for each code."""


def rows_of(passages: Sequence[IndexedPassage], numbers: Sequence[int]) -> NewPostings:
    """Return the rows to append for passages with these numbers, which ascend."""
    terms: list[int] = []
    weights: list[int] = []
    for indexed in passages:
        terms.extend(indexed.weights)
        weights.extend(indexed.weights.values())
    sizes = [len(indexed.weights) for indexed in passages]
    places = np.repeat(np.asarray(numbers, np.int64), sizes)
    codes = np.repeat(np.asarray([length_code(indexed.length) for indexed in passages], np.int64), sizes)
    entries = places % BLOCK_PASSAGES | np.asarray(weights, np.int64) << 16 | codes << 24
    return _rows(places // BLOCK_PASSAGES, np.asarray(terms, np.int64), entries)


def mark_rows(marks: Iterable[tuple[int, int]]) -> NewPostings:
    """Return the rows to append for passages with marks, each a pair of mark and number."""
    pairs = np.asarray(sorted(marks), np.int64).reshape(-1, 2)
    places = pairs[:, 1]
    return _rows(places // BLOCK_PASSAGES, pairs[:, 0], places % BLOCK_PASSAGES)


def _rows(blocks: NDArray[np.int64], terms: NDArray[np.int64], entries: NDArray[np.int64]) -> NewPostings:
    order = np.lexsort((terms, blocks))
    blocks, terms, entries = blocks[order], terms[order], entries[order]
    is_first = (blocks[1:] != blocks[:-1]) | (terms[1:] != terms[:-1])
    begins = np.concatenate(([0], np.flatnonzero(is_first) + 1)) if len(entries) else np.empty(0, np.int64)
    sizes = np.diff(begins, append=len(entries))
    data = entries.astype("<u4").tobytes()
    return NewPostings(blocks[begins].tolist(), terms[begins].tolist(), sizes.tolist(), data)


def without(rows: Sequence[tuple[int, bytes]], gone: bytes) -> dict[int, bytes]:
    """Return the entries of the terms that change where the passages of the entries `gone` are removed.

    `rows` are terms of one block with their entries. The entries of a term that has no other passage are empty.
    """
    is_gone = np.zeros(BLOCK_PASSAGES, np.bool_)
    is_gone[np.frombuffer(gone, "<u4") & 0xFFFF] = True
    postings = np.frombuffer(b"".join(entries for _, entries in rows), "<u4")
    kept = ~is_gone[postings & 0xFFFF]
    ends = np.cumsum([len(entries) // 4 for _, entries in rows]).tolist()
    counts = np.concatenate(([0], np.cumsum(kept)))
    changed: dict[int, bytes] = {}
    begin = 0
    for (term, _), end in zip(rows, ends, strict=True):
        if counts[end] - counts[begin] < end - begin:
            changed[term] = postings[begin:end][kept[begin:end]].tobytes()
        begin = end
    return changed
