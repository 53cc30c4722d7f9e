"""The inverted index: for each term the passages that have it, in blocks of passages.

A posting is an integer of 32 bits: the passage's place in its block (16 bits), the term's weighted frequency in it (8)
and the length of its text on a logarithmic scale (8). A row of the index holds the postings of one term in one block,
in the order of the passages' numbers; new postings are appended. Rows are binary, so both databases and memory have the
same index, and NumPy scores hundreds of thousands of postings in milliseconds.

Marks are terms that no word has: they hold the passages that a search must not find.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphmesh_retrieval.analysis.terms import term_of
from graphmesh_retrieval.domain import IndexedPassage

BLOCK_PASSAGES: Final = 8192
"""Passages of a block. A row of a common term has up to 32 KB, and is rewritten when passages are added."""
MAX_WEIGHT: Final = 255
LENGTH_STEPS: Final = 16
"""Steps of the logarithmic scale for the length of a text, for each doubling."""

DEAD: Final = term_of("\0dead")
"""The mark of passages that were deleted or replaced."""
RESTRICTED: Final = term_of("\0restricted")
"""The mark of passages that not every caller may find."""
ANY_SCOPE: Final = term_of("\0any scope")
"""The mark of passages that some scope may find."""

Postings = NDArray[np.uint32]


class PostingRow(NamedTuple):
    """The postings of a term in a block, or those to append to it."""

    block: int
    term: int
    size: int
    """The number of entries."""
    entries: bytes


def reader_mark(reader: str) -> int:
    """Return the mark of the passages that a reader (`subject:…`, `scope:…`) may find."""
    return term_of(f"\0reader {reader}")


def length_code(length: int) -> int:
    return min(255, round(LENGTH_STEPS * float(np.log2(1 + length))))


LENGTHS: Final = np.exp2(np.arange(256) / LENGTH_STEPS) - 1
"""The length for each code."""


def rows_of(passages: Sequence[IndexedPassage], numbers: Sequence[int]) -> list[PostingRow]:
    """Return the rows to append for passages with these numbers, which ascend; ordered by block and term."""
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


def mark_rows(marks: Iterable[tuple[int, int]]) -> list[PostingRow]:
    """Return the rows to append for passages with marks, each a pair of mark and number."""
    pairs = np.asarray(sorted(marks), np.int64).reshape(-1, 2)
    places = pairs[:, 1]
    return _rows(places // BLOCK_PASSAGES, pairs[:, 0], places % BLOCK_PASSAGES)


def _rows(blocks: NDArray[np.int64], terms: NDArray[np.int64], entries: NDArray[np.int64]) -> list[PostingRow]:
    if not len(entries):
        return []
    order = np.lexsort((terms, blocks))
    blocks, terms, entries = blocks[order], terms[order], entries[order]
    begins = np.flatnonzero(np.concatenate(([True], (blocks[1:] != blocks[:-1]) | (terms[1:] != terms[:-1]))))
    ends = [*begins[1:].tolist(), len(entries)]
    data = entries.astype("<u4").tobytes()
    return [
        PostingRow(block, term, end - begin, data[4 * begin : 4 * end])
        for block, term, begin, end in zip(
            blocks[begins].tolist(), terms[begins].tolist(), begins.tolist(), ends, strict=True
        )
    ]


def without(entries: bytes, gone: Iterable[int]) -> bytes:
    """Return the entries without those of the places in the block that are `gone`."""
    postings = np.frombuffer(entries, "<u4")
    return postings[~np.isin(postings & 0xFFFF, np.fromiter(gone, np.uint32))].tobytes()
