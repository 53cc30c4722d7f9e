"""Documents, and how well their passages answer a query.

The score of a passage is the share of the query's informative words that it has, each weighted by its rarity (the idf
of BM25) among the tenant's passages. It depends on nothing but counts of terms, so it is the same over every store, and
it means the same for every query: 1 is "all of what the query is about", 0 is "nothing of it".
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

SATURATION: Final = 1.2
"""BM25's k1: how soon more of the same word stops to count."""
LENGTH_PENALTY: Final = 0.75
"""BM25's b: how much a long passage has to be better than a short one."""


@dataclass(frozen=True)
class Draft:
    """A document as it is handed in."""

    document_id: str
    title: str
    uri: str
    text: str
    attributes: Mapping[str, str]

    def digest(self) -> str:
        """Equal for equal documents."""
        content = [self.title, self.uri, self.text, sorted(self.attributes.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True)
class Document(Draft):
    """A document as it is stored."""

    passage_count: int
    update_time: datetime


@dataclass(frozen=True)
class Section:
    """A passage inside its document: the headings above it and the text."""

    headings: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Entry:
    """A section with the terms that it is found by."""

    section: Section
    terms: tuple[str, ...]
    """In order, with repeats: those of the title, of the headings and of the text."""


@dataclass(frozen=True)
class Prepared:
    """A document that is ready to be stored."""

    draft: Draft
    digest: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Source:
    """What a passage says of the document that it is from."""

    document_id: str
    title: str
    uri: str


@dataclass(frozen=True)
class Candidate:
    """A passage that has at least one of the query's terms."""

    source: Source
    ordinal: int
    entry: Entry

    @property
    def passage_id(self) -> str:
        return f"{self.source.document_id}#{self.ordinal}"


@dataclass(frozen=True)
class Hit:
    """A passage, ranked."""

    candidate: Candidate
    score: float


@dataclass(frozen=True)
class Corpus:
    """What the tenant's passages are like, as far as one query needs it."""

    passages: int
    terms: int
    """Of all passages together, with repeats."""
    frequency: Mapping[str, int]
    """How many passages have a term; a term that is absent is in none."""

    def rarity(self, term: str) -> float:
        """The idf of BM25; positive for every term."""
        having = self.frequency.get(term, 0)
        return math.log1p((self.passages - having + 0.5) / (having + 0.5))


def score(query: Sequence[str], corpus: Corpus, present: Iterable[str]) -> float:
    """The share of the query's different terms that are `present`, by rarity."""
    found = set(present)
    asked = list(dict.fromkeys(query))
    total = sum(corpus.rarity(term) for term in asked)
    return sum(corpus.rarity(term) for term in asked if term in found) / total if total else 0.0


def bm25(query: Sequence[str], corpus: Corpus, terms: Sequence[str]) -> float:
    """The relevance of a passage within one query; it says nothing across queries."""
    counts = Counter(terms)
    mean = corpus.terms / corpus.passages
    norm = SATURATION * (1 - LENGTH_PENALTY + LENGTH_PENALTY * len(terms) / mean)
    return sum(
        corpus.rarity(term) * counts[term] * (SATURATION + 1) / (counts[term] + norm) for term in dict.fromkeys(query)
    )


def rank(
    query: Sequence[str], corpus: Corpus, candidates: Iterable[Candidate], *, limit: int, min_score: float
) -> list[Hit]:
    """The best candidates: by score, then by BM25, then by id."""
    rated = [
        (score(query, corpus, candidate.entry.terms), bm25(query, corpus, candidate.entry.terms), candidate)
        for candidate in candidates
    ]
    rated.sort(key=lambda rating: (-rating[0], -rating[1], rating[2].source.document_id, rating[2].ordinal))
    return [Hit(candidate, share) for share, _, candidate in rated if share >= min_score][:limit]
