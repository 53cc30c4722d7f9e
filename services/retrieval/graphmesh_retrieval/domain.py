"""Documents, and the ranking of their passages.

The score of a passage is the share of the query's terms that it contains, each weighted by its inverse document
frequency (the idf of BM25) among the tenant's passages. It depends only on counts of terms, so all stores compute the
same score, and scores are comparable across queries: 1 means all terms of the query, 0 means none.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

BM25_K1: Final = 1.2
"""Saturation: the lower, the less a repeated term adds."""
BM25_B: Final = 0.75
"""Length normalization: from 0, none, to 1, full."""


@dataclass(frozen=True)
class Draft:
    """A document to ingest."""

    document_id: str
    title: str
    uri: str
    text: str
    attributes: Mapping[str, str]

    def digest(self) -> str:
        """Hash the content, so that unchanged documents are not stored again."""
        content = [self.title, self.uri, self.text, sorted(self.attributes.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True)
class Document(Draft):
    """A stored document."""

    passage_count: int
    update_time: datetime


@dataclass(frozen=True)
class Passage:
    """A part of a document's text."""

    headings: tuple[str, ...]
    """The headings above it, from the outermost."""
    text: str


@dataclass(frozen=True)
class IndexedPassage(Passage):
    """A passage with its index terms."""

    terms: tuple[str, ...]
    """Terms of the title, the headings and the text, in order, with repeats."""


@dataclass(frozen=True)
class AnalyzedDocument:
    """A document with its passages and terms, ready to be stored."""

    draft: Draft
    digest: str
    passages: tuple[IndexedPassage, ...]


@dataclass(frozen=True)
class Source:
    """The document of a passage, as search results cite it."""

    document_id: str
    title: str
    uri: str


@dataclass(frozen=True)
class Candidate:
    """A passage with at least one of the query's terms."""

    source: Source
    ordinal: int
    passage: IndexedPassage

    @property
    def passage_id(self) -> str:
        return f"{self.source.document_id}#{self.ordinal}"


@dataclass(frozen=True)
class Hit:
    """A ranked passage."""

    candidate: Candidate
    score: float


@dataclass(frozen=True)
class CorpusStatistics:
    """Counts over the tenant's passages, for one query."""

    passages: int
    terms: int
    """Terms of all passages together, with repeats."""
    frequency: Mapping[str, int]
    """Number of passages with a term; 0 for an absent term."""

    def idf(self, term: str) -> float:
        """Inverse document frequency as in BM25; positive for every term."""
        matching = self.frequency.get(term, 0)
        return math.log1p((self.passages - matching + 0.5) / (matching + 0.5))


def score(query: Sequence[str], corpus: CorpusStatistics, present: Iterable[str]) -> float:
    """Return the idf-weighted share of the query's distinct terms that are `present`, from 0 to 1."""
    found = set(present)
    distinct = list(dict.fromkeys(query))
    total = sum(corpus.idf(term) for term in distinct)
    return sum(corpus.idf(term) for term in distinct if term in found) / total if total else 0.0


def bm25(query: Sequence[str], corpus: CorpusStatistics, terms: Sequence[str]) -> float:
    """Return the BM25 relevance of a passage; comparable only within one query."""
    counts = Counter(terms)
    mean = corpus.terms / corpus.passages
    norm = BM25_K1 * (1 - BM25_B + BM25_B * len(terms) / mean)
    return sum(corpus.idf(term) * counts[term] * (BM25_K1 + 1) / (counts[term] + norm) for term in dict.fromkeys(query))


def rank(
    query: Sequence[str], corpus: CorpusStatistics, candidates: Iterable[Candidate], *, limit: int, min_score: float
) -> list[Hit]:
    """Return the best candidates, ordered by score, then BM25, then id."""
    rated = [
        (score(query, corpus, candidate.passage.terms), bm25(query, corpus, candidate.passage.terms), candidate)
        for candidate in candidates
    ]
    rated.sort(key=lambda rating: (-rating[0], -rating[1], rating[2].source.document_id, rating[2].ordinal))
    return [Hit(candidate, share) for share, _, candidate in rated if share >= min_score][:limit]
