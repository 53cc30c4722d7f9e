"""Searches passages and ranks them, by their words and, with an embedder, by their meaning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from graphmesh_retrieval import vectors
from graphmesh_retrieval.analysis.terms import query_words
from graphmesh_retrieval.documents import Documents, Lists
from graphmesh_retrieval.domain import Corpus, Hit, Reader
from graphmesh_retrieval.embedders import Embedder
from graphmesh_retrieval.indexing import SCOPE
from graphmesh_retrieval.postings import ANY_SCOPE, DEAD, RESTRICTED, reader_mark
from graphmesh_retrieval.ranking import Ranked, numbers_of
from graphmesh_retrieval.vectors import VectorCache
from graphmesh_retrieval.word_search import plan_words, rank_by_words

MAX_READER_SCOPES: Final = 200
"""Scopes of a caller that decide about what it may find."""
HISTORY_BATCHES: Final = (100, 400, 1500)
"""The passages that a search of the past considers, until it has found enough."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """What a caller searches."""

    text: str
    reader: Reader
    limit: int
    min_score: float = 0.0
    as_of: datetime | None = None


class Searcher:
    """Searches the documents of any tenant."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder
        self._vectors = VectorCache()

    async def search(self, tenant: str, documents: Documents, query: Query) -> list[Hit]:
        """Return the most relevant passages that the reader may find.

        A search of the past ranks by words alone, and so does one without an embedder.

        Raises:
            ProviderUnavailable: the embedder cannot be used.
        """
        corpus = await documents.corpus()
        words = query_words(query.text, corpus.languages)
        if not words:
            return []
        plan = await plan_words(documents, words, corpus)
        marks = [mark for mark, is_used in ((DEAD, corpus.has_dead), (RESTRICTED, corpus.has_restricted)) if is_used]
        first = [*plan.first_terms(), *marks]
        lists = await documents.lists(first) if first else {}
        hidden = await _hidden(documents, lists, query)
        rank = partial(rank_by_words, documents, corpus, plan, lists, hidden)
        if query.as_of:
            return await _hits_as_of(documents, await rank(sum(HISTORY_BATCHES), query.min_score), query)
        if self._embedder is None:
            ranked = await rank(query.limit, query.min_score)
        else:
            by_words = await rank(vectors.DEPTH, 0.0)
            ranked = await self._fused(tenant, documents, corpus, self._embedder, by_words, hidden, query)
        return await _hits(documents, ranked)

    async def _fused(
        self,
        tenant: str,
        documents: Documents,
        corpus: Corpus,
        embedder: Embedder,
        by_words: Sequence[Ranked],
        hidden: Numbers,
        query: Query,
    ) -> list[Ranked]:
        vector = (await embedder.embed_texts([query.text]))[0]
        if corpus.passages > vectors.MAX_SEARCHED_PASSAGES:
            by_vectors = await vectors.rerank(documents, embedder.name, vector, by_words)
        else:
            by_vectors = await self._vectors.best(tenant, documents, corpus, vector, embedder.name, hidden)
        fused = vectors.fuse(by_words, by_vectors, 2 * vectors.DEPTH)
        return [passage for passage in fused if passage.score >= query.min_score][: query.limit]


def _reader_marks(reader: Reader) -> Iterator[int]:
    yield reader_mark(f"subject:{reader.subject}")
    if reader.scopes is None:
        yield ANY_SCOPE
    else:
        yield from (reader_mark(f"{SCOPE}{scope}") for scope in sorted(reader.scopes)[:MAX_READER_SCOPES])


async def _hidden(documents: Documents, lists: Lists, query: Query) -> Numbers:
    """Return the numbers of the passages that a search must not find.

    `lists` have those of the marks of dead and restricted passages. A search of the past finds dead ones.
    """
    dead = numbers_of(() if query.as_of else lists.get(DEAD, ()))
    if RESTRICTED not in lists:
        return dead
    # The reader's own passages are restricted ones, so they are in the same blocks.
    own = await documents.lists(list(_reader_marks(query.reader)), [block for block, _ in lists[RESTRICTED]])
    allowed = np.concatenate([numbers_of(()), *map(numbers_of, own.values())])
    return np.concatenate((dead, np.setdiff1d(numbers_of(lists[RESTRICTED]), allowed)))


async def _hits(documents: Documents, ranked: Sequence[Ranked]) -> list[Hit]:
    found = await documents.passages([passage.number for passage in ranked])
    return [Hit(found[passage.number], passage.score) for passage in ranked if passage.number in found]


async def _hits_as_of(documents: Documents, ranked: Sequence[Ranked], query: Query) -> list[Hit]:
    """Return the best passages of versions that were current at the query's time, looked up from the best on."""
    assert query.as_of is not None
    hits: list[Hit] = []
    begin = 0
    for size in HISTORY_BATCHES:
        batch = ranked[begin : begin + size]
        begin += size
        hits += [hit for hit in await _hits(documents, batch) if hit.found.document.was_current(query.as_of)]
        if len(hits) >= query.limit or not batch:
            break
    return hits[: query.limit]
