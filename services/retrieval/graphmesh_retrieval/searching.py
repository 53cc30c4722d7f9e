"""Ranked passages out."""

from typing import Final

from graphmesh_retrieval.analysis import query_terms
from graphmesh_retrieval.domain import Hit, rank
from graphmesh_retrieval.library import Library

CANDIDATES: Final = 500
"""Passages that a store hands over to be ranked."""


async def search(library: Library, query: str, *, limit: int, min_score: float) -> list[Hit]:
    """The passages that answer the query best; none where it has no informative word."""
    terms = query_terms(query)
    if not terms:
        return []
    corpus = await library.corpus(terms)
    candidates = await library.candidates(terms, corpus, CANDIDATES)
    return rank(terms, corpus, candidates, limit=limit, min_score=min_score)
