"""Ranks passages by BM25 over their fields, from the postings of a query's words.

The relevance of a passage is that of BM25F: the frequencies of a word in title, headings and text are added with the
weights of the fields, and saturate together. The score of a passage is the share of the query's words that it has, each
weighted by its inverse document frequency among the tenant's passages.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
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


TOLERANCE: Final = 1e-5
"""The precision of sums of scores."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
_NONE: Final[Numbers] = np.empty(0, np.int64)


class Ranked(NamedTuple):
    """A passage with its relevance for a query."""

    number: int
    relevance: float
    score: float


class Rest(NamedTuple):
    """The most that words can add to a passage."""

    relevance: float
    score: float
    """Before it is divided by that of all words."""


class Ranking:
    """The ranking for one query.

    The passages that have the rarest words are accumulated first. Where no other passage can be among the best any
    more, the further words are added to those found alone.
    """

    def __init__(self, corpus: Corpus, hidden: Numbers) -> None:
        """`hidden` are the numbers of passages that the search must not find."""
        self._corpus = corpus
        self._impacts = impacts(_rounded(corpus.mean_length))
        # Arrays by number: the system provides their memory, a page at a time, where a passage is found.
        self._relevance = np.zeros(corpus.next_number, np.float32)
        self._score = np.zeros(corpus.next_number, np.float32)
        self._hidden: NDArray[np.bool_] | None = None
        if len(hidden):
            self._hidden = np.zeros(corpus.next_number, np.bool_)
            self._hidden[hidden] = True
        self._visible_share = 1 - min(1.0, len(hidden) / max(1, corpus.passages))
        self._found: list[Numbers] = []
        self._total = 0.0

    def add(self, words: Sequence[QueryWord], lists: Lists) -> None:
        """Add words, with all their postings."""
        for word in words:
            numbers, postings = self._visible(word, lists)
            idf = inverse_frequency(self._corpus.passages, len(numbers))
            before = self._relevance[numbers]
            self._relevance[numbers] = before + idf * self._impacts[postings >> 16]
            self._score[numbers] += idf
            self._found.append(numbers[before == 0])
            self._total += idf

    def refine(self, words: Sequence[QueryWord], lists: Lists, sizes: Mapping[QueryWord, int]) -> None:
        """Add words to passages that are found already.

        `lists` need to have the blocks of the candidates alone; `sizes` are the numbers of all postings.
        """
        for word in words:
            numbers, postings = self._visible(word, lists)
            size = round(self._visible_share * sizes[word]) if word in sizes else len(numbers)
            idf = inverse_frequency(self._corpus.passages, size)
            before = self._relevance[numbers]
            found = before > 0
            numbers = numbers[found]
            weight = FUNCTION_WORD_WEIGHT * idf if word.is_function_word else idf
            self._relevance[numbers] = before[found] + weight * self._impacts[postings[found] >> 16]
            if not word.is_function_word:
                self._score[numbers] += idf
                self._total += idf

    def narrow(self, limit: int, rest: Rest, min_score: float, most: int) -> tuple[Numbers, bool]:
        """Drop passages that cannot be among the best `limit`, whatever is added.

        Returns those that may be, the most relevant of more than `most`, and whether no other passage can be. `rest` is
        of the words not yet added.
        """
        total = self._total + rest.score
        found = np.concatenate((_NONE, *self._found))
        relevance = self._relevance[found]
        certain = relevance[self._score[found] >= min_score * total - TOLERANCE] if min_score else relevance
        least = 0.0
        if len(certain) >= limit:
            least = float(np.partition(certain, len(certain) - limit)[len(certain) - limit])
        near = relevance + rest.relevance >= least
        found, relevance = found[near], relevance[near]
        self._found = [found]
        if len(found) > most:
            found = found[np.argpartition(-relevance, most)[:most]]
        return found, rest.relevance < least or rest.score < min_score * total - TOLERANCE

    def best(self, limit: int, min_score: float) -> list[Ranked]:
        """Return the most relevant passages, best first, then by number."""
        found = np.concatenate((_NONE, *self._found))
        if min_score:
            found = found[self._score[found] >= min_score * self._total - TOLERANCE]
        relevance = self._relevance[found]
        if len(found) > limit:
            cut = np.partition(relevance, len(found) - limit)[len(found) - limit]
            found = found[relevance >= cut]
        order = np.lexsort((found, -self._relevance[found]))[:limit]
        return [
            Ranked(number, float(self._relevance[number]), min(1.0, float(self._score[number]) / self._total))
            for number in found[order].tolist()
        ]

    def _visible(self, word: QueryWord, lists: Lists) -> tuple[Numbers, Postings]:
        numbers, postings = postings_of(word, lists)
        if self._hidden is None:
            return numbers, postings
        visible = ~self._hidden[numbers]
        return numbers[visible], postings[visible]


def rest_of(corpus: Corpus, words: Iterable[tuple[QueryWord, int]]) -> Rest:
    """Return what words can add to a passage; each is with the number of its postings."""
    relevance = score = 0.0
    for word, size in words:
        idf = inverse_frequency(corpus.passages, size)
        relevance += (K1 + 1) * idf * (FUNCTION_WORD_WEIGHT if word.is_function_word else 1.0)
        score += 0.0 if word.is_function_word else idf
    return Rest(relevance, score)


def postings_of(word: QueryWord, lists: Lists) -> tuple[Numbers, Postings]:
    """Return the postings of a word with their numbers; a passage that has several of its terms counts once."""
    parts = [_decoded(lists[term]) for term in word.terms if lists.get(term)]
    if not parts:
        return _NONE, np.empty(0, np.uint32)
    if len(parts) == 1:
        return parts[0]
    numbers = np.concatenate([numbers for numbers, _ in parts])
    postings = np.concatenate([postings for _, postings in parts])
    numbers, first = np.unique(numbers, return_index=True)
    return numbers, postings[first]


def numbers_of(rows: Sequence[tuple[int, bytes]]) -> Numbers:
    """Return the numbers of the passages of a posting list."""
    return _decoded(rows)[0]


def _decoded(rows: Sequence[tuple[int, bytes]]) -> tuple[Numbers, Postings]:
    postings = np.frombuffer(b"".join(entries for _, entries in rows), "<u4")
    bases = np.asarray([block for block, _ in rows], np.int64) * BLOCK_PASSAGES
    return np.repeat(bases, [len(entries) // 4 for _, entries in rows]) + (postings & 0xFFFF), postings


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
