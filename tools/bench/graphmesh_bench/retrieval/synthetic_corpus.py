"""A corpus of made-up words whose frequencies follow Zipf's law, and queries about it. A seed makes it repeatable."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from graphmesh.retrieval import v1 as pb

VOCABULARY: Final = 200_000
EXPONENT: Final = 1.05
"""Zipf's exponent; natural languages have about 1."""
PASSAGE_WORDS: Final = 60
"""Words of a passage; its text has about 400 characters."""
DOCUMENT_PASSAGES: Final = 8
QUERY_WORDS: Final = 5
_SYLLABLES: Final = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Query:
    """A query that consists of words of one passage."""

    text: str
    document_id: str


class SyntheticCorpus:
    """Documents with about the same number of passages each."""

    def __init__(self, passages: int, seed: int = 1) -> None:
        self._passages = passages
        self._seed = seed
        self._words = np.array([_word(rank) for rank in range(VOCABULARY)], dtype=object)
        frequencies = 1.0 / np.arange(1, VOCABULARY + 1) ** EXPONENT
        self._cumulated = np.cumsum(frequencies) / frequencies.sum()

    def documents(self) -> Iterator[pb.DocumentInput]:
        for number in range(-(-self._passages // DOCUMENT_PASSAGES)):
            sections = [f"## {' '.join(words[:3])}\n\n{' '.join(words)}." for words in self._sections(number)]
            text = "\n\n".join(sections)
            yield pb.DocumentInput(document_id=f"d{number}", title=f"Document {number}", text=text, language="en")

    @property
    def last_document_id(self) -> str:
        return f"d{(self._passages - 1) // DOCUMENT_PASSAGES}"

    def queries(self, count: int) -> Iterator[Query]:
        random = np.random.default_rng(self._seed)
        for number in random.integers(0, max(1, self._passages // DOCUMENT_PASSAGES), count):
            section = self._sections(int(number))[0]
            yield Query(" ".join(random.choice(section, QUERY_WORDS)), f"d{number}")

    def _sections(self, number: int) -> list[list[str]]:
        count = min(DOCUMENT_PASSAGES, self._passages - number * DOCUMENT_PASSAGES)
        random = np.random.default_rng((self._seed, number))
        ranks = np.searchsorted(self._cumulated, random.random(count * PASSAGE_WORDS))
        words: list[str] = self._words[ranks].tolist()
        return [words[begin : begin + PASSAGE_WORDS] for begin in range(0, len(words), PASSAGE_WORDS)]


def _word(rank: int) -> str:
    """Return the word of a rank: syllables are its digits, so that common words are short."""
    word = ""
    rank += len(_SYLLABLES)
    while rank:
        rank, digit = divmod(rank, len(_SYLLABLES))
        word += _SYLLABLES[digit]
    return word
