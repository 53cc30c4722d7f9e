"""Ranks passages by BM25 over their fields, from the postings of a query's words.

The relevance of a passage is that of BM25F: the frequencies of a word in title, headings and text are added with the
weights of the fields, and saturate together. The score of a passage is the share of the query's words that it has, each
weighted by its inverse document frequency among the tenant's passages.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphmesh_retrieval.analysis.terms import QueryWord
from graphmesh_retrieval.documents import Lists
from graphmesh_retrieval.domain import Corpus
from graphmesh_retrieval.postings import BLOCK_PASSAGES, LENGTHS, Postings

K1: Final = 1.2
"""Saturation: the lower, the less a repeated word adds."""
B: Final = 0.75
"""Length normalization: from 0, none, to 1, full."""
FUNCTION_WORD_WEIGHT: Final = 0.4
"""The weight of words that hardly distinguish passages, where a query has other words."""
FIELD_UNIT: Final = 4
"""The weighted frequency of a word that occurs once in the text."""

Floats = NDArray[np.float32]
Slots = NDArray[np.int64]


class Ranked(NamedTuple):
    """A passage with its relevance for a query."""

    number: int
    relevance: float
    score: float


class Ranking:
    """The ranking for one query. Passages get a slot in a dense array; blocks without matches have none."""

    def __init__(self, corpus: Corpus, words: Sequence[QueryWord], lists: Lists) -> None:
        self._corpus = corpus
        self._words = words
        self._lists = lists
        blocks = {block for word in words for term in word.terms for block, _ in lists.get(term, ())}
        self._blocks = sorted(blocks)
        self._slot = {block: slot * BLOCK_PASSAGES for slot, block in enumerate(self._blocks)}

    def best(self, limit: int, hidden_numbers: Slots, min_score: float) -> list[Ranked]:
        """Return the most relevant passages without the hidden ones, best first, then by number."""
        hidden = self._slots(hidden_numbers)
        relevance = np.zeros(len(self._blocks) * BLOCK_PASSAGES, np.float32)
        score = np.zeros_like(relevance)
        visible = np.ones(len(relevance), np.bool_)
        visible[hidden] = False
        total = 0.0
        table = impacts(_rounded(self._corpus.mean_length))
        for word in self._words:
            slots, postings = self.postings(word)
            matching = int(np.count_nonzero(visible[slots])) if len(hidden) else len(slots)
            idf = inverse_frequency(self._corpus.passages, matching)
            if word.is_function_word:
                relevance[slots] += FUNCTION_WORD_WEIGHT * idf * table[postings >> 16]
                continue
            relevance[slots] += idf * table[postings >> 16]
            score[slots] += idf
            total += idf
        relevance[hidden] = 0
        if total:
            score /= total
        relevance[score == 0] = 0
        if min_score:
            relevance[score < min_score - 1e-6] = 0
        return self._top(relevance, score, limit)

    def postings(self, word: QueryWord) -> tuple[Slots, Postings]:
        """Return the postings of a word with their slots; a passage that has several of its terms counts once."""
        parts = [self._postings(term) for term in word.terms if term in self._lists]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.uint32)
        if len(parts) == 1:
            return parts[0]
        slots = np.concatenate([slots for slots, _ in parts])
        postings = np.concatenate([postings for _, postings in parts])
        slots, first = np.unique(slots, return_index=True)
        return slots, postings[first]

    def _slots(self, numbers: Slots) -> Slots:
        """Return the slots of those passages that have one."""
        blocks = np.asarray(self._blocks, np.int64)
        place = np.searchsorted(blocks, numbers // BLOCK_PASSAGES)
        known = place < len(blocks)
        known[known] = blocks[place[known]] == numbers[known] // BLOCK_PASSAGES
        return place[known] * BLOCK_PASSAGES + numbers[known] % BLOCK_PASSAGES

    def _postings(self, term: int) -> tuple[Slots, Postings]:
        rows = [(self._slot[block], entries) for block, entries in self._lists[term] if block in self._slot]
        postings = np.frombuffer(b"".join(entries for _, entries in rows), "<u4")
        bases = np.repeat([base for base, _ in rows], [len(entries) // 4 for _, entries in rows]).astype(np.int64)
        return bases + (postings & 0xFFFF), postings

    def _top(self, relevance: Floats, score: Floats, limit: int) -> list[Ranked]:
        found = np.flatnonzero(relevance)
        if len(found) > limit:
            cut = np.partition(relevance[found], len(found) - limit)[len(found) - limit]
            found = found[relevance[found] >= cut]
        order = np.argsort(-relevance[found], kind="stable")[:limit]
        return [
            Ranked(self._number(slot), float(relevance[slot]), min(1.0, float(score[slot])))
            for slot in found[order].tolist()
        ]

    def _number(self, slot: int) -> int:
        return self._blocks[slot // BLOCK_PASSAGES] * BLOCK_PASSAGES + slot % BLOCK_PASSAGES


def numbers_of(rows: Sequence[tuple[int, bytes]]) -> Slots:
    """Return the numbers of the passages of a posting list."""
    postings = np.frombuffer(b"".join(entries for _, entries in rows), "<u4")
    sizes = [len(entries) // 4 for _, entries in rows]
    return np.repeat(np.asarray([block for block, _ in rows], np.int64) * BLOCK_PASSAGES, sizes) + (postings & 0xFFFF)


def inverse_frequency(passages: int, matching: int) -> float:
    """Return the inverse document frequency as in BM25; positive for every word."""
    return math.log1p((max(passages, matching) - matching + 0.5) / (matching + 0.5))


@lru_cache(maxsize=64)
def impacts(mean_length: float) -> Floats:
    """Return the relevance of a word of idf 1, for each pair of length code and weighted frequency.

    The index is that of the upper half of a posting.
    """
    frequency = np.arange(256) / FIELD_UNIT
    norm = K1 * (1 - B + B * LENGTHS / mean_length)
    table = frequency * (K1 + 1) / (frequency + norm[:, np.newaxis])
    return table.astype(np.float32).reshape(-1)


def _rounded(length: float) -> float:
    """Round to about 3 %, so that a corpus that grows does not need new tables of impacts all the time."""
    return float(2 ** (round(math.log2(max(length, 1.0)) * 24) / 24))
