"""The vectors of passages in memory, and the fusion of their ranking with that of the words."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.domain import Corpus
from graphmesh_retrieval.embedders import Vectors
from graphmesh_retrieval.ranking import Ranked

MAX_SEARCHED_PASSAGES: Final = 50_000
"""Passages of a corpus up to which all vectors are compared; in a larger one those of the best passages by words."""
MAX_CACHED_BYTES: Final = 160 * 1024 * 1024
"""Bytes of vectors that are kept for the corpora that were searched last."""
DEPTH: Final = 100
"""Passages of either ranking that are fused."""
VECTOR_WEIGHT: Final = 3.0
"""The weight of the ranking by vectors; that by words has 1."""
RANK_OFFSET: Final = 10
"""The constant of reciprocal rank fusion: the lower, the more the first ranks count."""


def encode(vectors: Vectors) -> list[bytes]:
    """Return each vector as it is stored: with 16 bits a dimension."""
    return [row.tobytes() for row in vectors.astype("<f2")]


def decode(stored: Sequence[bytes]) -> Vectors:
    return np.frombuffer(b"".join(stored), "<f2").reshape(len(stored), -1).astype(np.float32)


@dataclass
class _Cached:
    numbers: NDArray[np.int64]
    vectors: Vectors
    next_number: int
    compactions: int


class VectorCache:
    """The vectors of corpora that were searched last. They never change: only new ones are read, until a compaction."""

    def __init__(self) -> None:
        self._corpora: OrderedDict[str, _Cached] = OrderedDict()

    async def best(
        self,
        tenant: str,
        documents: Documents,
        corpus: Corpus,
        query: Vectors,
        embedder: str,
        hidden: NDArray[np.int64],
    ) -> list[tuple[int, float]]:
        """Return the numbers of the most similar passages without the hidden ones, with their similarities."""
        cached = await self._updated(tenant, documents, corpus, embedder)
        if not len(cached.numbers):
            return []
        similarities = cached.vectors @ query
        similarities[np.isin(cached.numbers, hidden)] = -1
        order = np.argsort(-similarities, kind="stable")[:DEPTH]
        return [(int(cached.numbers[index]), float(similarities[index])) for index in order if similarities[index] > 0]

    async def _updated(self, tenant: str, documents: Documents, corpus: Corpus, embedder: str) -> _Cached:
        cached = self._corpora.pop(tenant, None)
        if cached and cached.compactions != corpus.compactions:
            cached = None
        begin = cached.next_number if cached else 0
        if cached is None or begin < corpus.next_number:
            found = await documents.vectors(embedder, begin, corpus.next_number)
            numbers = np.array([number for number, _ in found], np.int64)
            vectors = decode([vector for _, vector in found]) if found else np.empty((0, 0), np.float32)
            if cached is not None and len(cached.numbers):
                numbers = np.concatenate((cached.numbers, numbers))
                vectors = np.concatenate((cached.vectors, vectors)) if len(vectors) else cached.vectors
            cached = _Cached(numbers, vectors, corpus.next_number, corpus.compactions)
        self._corpora[tenant] = cached
        while (
            sum(entry.vectors.nbytes for entry in self._corpora.values()) > MAX_CACHED_BYTES and len(self._corpora) > 1
        ):
            self._corpora.popitem(last=False)
        return cached


async def rerank(
    documents: Documents, embedder: str, query: Vectors, ranked: Sequence[Ranked]
) -> list[tuple[int, float]]:
    """Return the numbers of passages in the order of their similarities, with these."""
    found = await documents.vectors_of(embedder, [passage.number for passage in ranked])
    if not found:
        return []
    similarities = decode(list(found.values())) @ query
    order = np.argsort(-similarities, kind="stable")
    numbers = list(found)
    return [(numbers[index], float(similarities[index])) for index in order]


def fuse(by_words: Sequence[Ranked], by_vectors: Sequence[tuple[int, float]], limit: int) -> list[Ranked]:
    """Join two rankings by reciprocal rank fusion. The score is the share of words or the similarity: the greater."""
    relevance: dict[int, float] = {}
    score: dict[int, float] = {}
    for rank, passage in enumerate(by_words[:DEPTH]):
        relevance[passage.number] = 1 / (RANK_OFFSET + rank)
        score[passage.number] = passage.score
    for rank, (number, similarity) in enumerate(by_vectors[:DEPTH]):
        relevance[number] = relevance.get(number, 0.0) + VECTOR_WEIGHT / (RANK_OFFSET + rank)
        score[number] = max(score.get(number, 0.0), min(1.0, similarity))
    order = sorted(relevance, key=lambda number: (-relevance[number], number))
    return [Ranked(number, relevance[number], score[number]) for number in order[:limit]]
