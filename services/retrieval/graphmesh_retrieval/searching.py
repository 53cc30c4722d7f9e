"""Searches passages and ranks them."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np

from graphmesh_retrieval.analysis.terms import QueryWord, query_words
from graphmesh_retrieval.documents import Documents, Lists
from graphmesh_retrieval.domain import Corpus, Hit, Reader
from graphmesh_retrieval.indexing import SCOPE
from graphmesh_retrieval.postings import ANY_SCOPE, BLOCK_PASSAGES, DEAD, RESTRICTED, reader_mark
from graphmesh_retrieval.ranking import Ranked, Ranking

MAX_POSTINGS: Final = 2_000_000
"""Postings that a search reads. The rarest words are read first; the first one is always read."""
MAX_POSTINGS_WITH_FUNCTION_WORDS: Final = 100_000
"""As `MAX_POSTINGS`, for function words: where they are costly, they add little."""
MIN_COUNTED_PASSAGES: Final = 4 * BLOCK_PASSAGES
"""Passages of a corpus from which on postings are counted before they are read."""
MIN_THREAD_POSTINGS: Final = 20_000
"""Postings from which on they are ranked in a thread, so that the event loop continues."""
MAX_READER_SCOPES: Final = 200
"""Scopes of a caller that decide about what it may find."""
HISTORY_BATCHES: Final = (100, 400, 1500)
"""The passages that a search of the past considers, until it has found enough."""


async def search(
    documents: Documents,
    query: str,
    reader: Reader,
    *,
    limit: int,
    min_score: float,
    as_of: datetime | None = None,
) -> list[Hit]:
    """Return the most relevant passages that the reader may find; none if the query has no words."""
    corpus = await documents.corpus()
    asked = query_words(query, corpus.languages)
    if not asked or not corpus.passages:
        return []
    words = await _affordable(documents, asked, corpus)
    marks = [DEAD, RESTRICTED, *_reader_marks(reader)]
    lists = await documents.lists([*(term for word in words for term in word.terms), *marks])
    hidden_marks = marks[1:] if as_of else marks
    wanted = sum(HISTORY_BATCHES) if as_of else limit
    ranked = await _in_thread_if_long(corpus, words, lists, hidden_marks, wanted, min_score)
    return await (_hits_as_of(documents, ranked, limit, as_of) if as_of else _hits(documents, ranked))


async def _affordable(documents: Documents, words: Sequence[QueryWord], corpus: Corpus) -> Sequence[QueryWord]:
    """Return the words whose postings are read."""
    if corpus.passages < MIN_COUNTED_PASSAGES:
        return words
    counts = await documents.counts([term for word in words for term in word.terms])
    sizes = {word: sum(counts.get(term, 0) for term in word.terms) for word in words}
    chosen: list[QueryWord] = []
    total = 0
    for word in sorted(words, key=lambda word: (word.is_function_word, sizes[word])):
        total += sizes[word]
        if chosen and total > (MAX_POSTINGS_WITH_FUNCTION_WORDS if word.is_function_word else MAX_POSTINGS):
            break
        chosen.append(word)
    return chosen


def _reader_marks(reader: Reader) -> Iterator[int]:
    yield reader_mark(f"subject:{reader.subject}")
    if reader.scopes is None:
        yield ANY_SCOPE
    else:
        yield from (reader_mark(f"{SCOPE}{scope}") for scope in sorted(reader.scopes)[:MAX_READER_SCOPES])


async def _in_thread_if_long(
    corpus: Corpus, words: Sequence[QueryWord], lists: Lists, marks: Sequence[int], limit: int, min_score: float
) -> list[Ranked]:
    postings = sum(len(entries) for rows in lists.values() for _, entries in rows) // 4
    if postings < MIN_THREAD_POSTINGS:
        return _rank(corpus, words, lists, marks, limit, min_score)
    return await asyncio.to_thread(_rank, corpus, words, lists, marks, limit, min_score)


def _rank(
    corpus: Corpus, words: Sequence[QueryWord], lists: Lists, marks: Sequence[int], limit: int, min_score: float
) -> list[Ranked]:
    """Rank passages; `marks` are those of dead passages, of restricted ones, and of those that the reader may find."""
    ranking = Ranking(corpus, words, lists)
    restricted = ranking.marked(RESTRICTED)
    if len(restricted):
        allowed = [ranking.marked(mark) for mark in marks if mark not in (DEAD, RESTRICTED)]
        restricted = np.setdiff1d(restricted, np.concatenate(allowed))
    dead = ranking.marked(DEAD) if DEAD in marks else restricted[:0]
    return ranking.best(limit, np.concatenate((dead, restricted)), min_score)


async def _hits(documents: Documents, ranked: Sequence[Ranked]) -> list[Hit]:
    found = await documents.passages([passage.number for passage in ranked])
    return [Hit(found[passage.number], passage.score) for passage in ranked if passage.number in found]


async def _hits_as_of(documents: Documents, ranked: Sequence[Ranked], limit: int, time: datetime) -> list[Hit]:
    """Return the best passages of versions that were current at a time, which are looked for from the best on."""
    hits: list[Hit] = []
    begin = 0
    for size in HISTORY_BATCHES:
        batch = ranked[begin : begin + size]
        begin += size
        hits += [hit for hit in await _hits(documents, batch) if hit.found.document.was_current(time)]
        if len(hits) >= limit or not batch:
            break
    return hits[:limit]
