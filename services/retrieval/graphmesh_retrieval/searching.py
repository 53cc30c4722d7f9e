"""Searches passages and ranks them."""

from typing import Final

from graphmesh_retrieval.analysis import query_terms
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.domain import Hit, rank

MAX_CANDIDATES: Final = 500
"""Passages that a store preselects for ranking."""


async def search(documents: Documents, query: str, *, limit: int, min_score: float) -> list[Hit]:
    """Return the most relevant passages; none if the query has only stop words."""
    terms = query_terms(query)
    if not terms:
        return []
    corpus = await documents.corpus(terms)
    candidates = await documents.candidates(terms, corpus, MAX_CANDIDATES)
    return rank(terms, corpus, candidates, limit=limit, min_score=min_score)
