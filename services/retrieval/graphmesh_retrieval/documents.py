"""The port to the store of documents and passages, and its twin in memory."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import NotFound

from graphmesh_retrieval.domain import AnalyzedDocument, Candidate, CorpusStatistics, Document, Source


class Documents(Protocol):
    """The documents of one tenant."""

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        """Return the digests of the stored ones among the documents, by id."""
        ...

    async def put(self, documents: Sequence[AnalyzedDocument], now: datetime) -> None:
        """Insert or replace documents, whose ids must be distinct."""
        ...

    async def get(self, document_id: str) -> Document:
        """Raises NotFound."""
        ...

    async def page(self, after: str, size: int) -> list[Document]:
        """Return the first `size` documents in the order of ids, after the id `after`, with empty texts."""
        ...

    async def delete(self, document_ids: Sequence[str]) -> int:
        """Delete the documents that exist, and return their number."""
        ...

    async def corpus(self, terms: Sequence[str]) -> CorpusStatistics:
        """Count passages and terms, for the scores of a query of these terms."""
        ...

    async def candidates(self, terms: Sequence[str], corpus: CorpusStatistics, limit: int) -> list[Candidate]:
        """Return passages with at least one of the terms, unordered; the most relevant if more than `limit` match."""
        ...


class MemoryDocuments:
    """The twin in memory. `candidates` ignores its limit."""

    def __init__(self) -> None:
        self._documents: dict[str, tuple[AnalyzedDocument, datetime]] = {}

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        return {key: self._documents[key][0].digest for key in document_ids if key in self._documents}

    async def put(self, documents: Sequence[AnalyzedDocument], now: datetime) -> None:
        self._documents.update({document.draft.document_id: (document, now) for document in documents})

    async def get(self, document_id: str) -> Document:
        if document_id not in self._documents:
            raise NotFound(resource="document", id=document_id)
        return self._document(document_id, with_text=True)

    async def page(self, after: str, size: int) -> list[Document]:
        ids = sorted(document_id for document_id in self._documents if document_id > after)
        return [self._document(document_id, with_text=False) for document_id in ids[:size]]

    async def delete(self, document_ids: Sequence[str]) -> int:
        return sum(self._documents.pop(document_id, None) is not None for document_id in document_ids)

    async def corpus(self, terms: Sequence[str]) -> CorpusStatistics:
        passages = [passage for document, _ in self._documents.values() for passage in document.passages]
        frequency = Counter(term for passage in passages for term in set(passage.terms) & set(terms))
        return CorpusStatistics(len(passages), sum(len(passage.terms) for passage in passages), frequency)

    async def candidates(self, terms: Sequence[str], corpus: CorpusStatistics, limit: int) -> list[Candidate]:
        return [
            Candidate(Source(key, document.draft.title, document.draft.uri), ordinal, passage)
            for key, (document, _) in self._documents.items()
            for ordinal, passage in enumerate(document.passages)
            if set(passage.terms) & set(terms)
        ]

    def _document(self, document_id: str, *, with_text: bool) -> Document:
        document, update_time = self._documents[document_id]
        values = vars(document.draft) | ({} if with_text else {"text": ""})
        return Document(**values, passage_count=len(document.passages), update_time=update_time)
