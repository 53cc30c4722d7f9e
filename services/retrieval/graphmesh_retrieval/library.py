"""Where documents and their passages are kept, as the use cases see it."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from graphmesh_chassis.errors import NotFound

from graphmesh_retrieval.domain import Candidate, Corpus, Document, Prepared, Source


class Library(Protocol):
    """The documents of one tenant."""

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        """The digests of those that are stored, by id."""
        ...

    async def put(self, documents: Sequence[Prepared], now: datetime) -> None:
        """Store documents of different ids, each in place of the one that has its id."""
        ...

    async def get(self, document_id: str) -> Document:
        """Raises NotFound."""
        ...

    async def page(self, after: str, size: int) -> list[Document]:
        """The first `size` documents, by id, whose id is greater than `after`; their texts are left empty."""
        ...

    async def remove(self, document_ids: Sequence[str]) -> int:
        """How many of them there were."""
        ...

    async def corpus(self, terms: Sequence[str]) -> Corpus:
        """The counts that rate a query of these terms."""
        ...

    async def candidates(self, terms: Sequence[str], corpus: Corpus, limit: int) -> list[Candidate]:
        """Passages that have one of the terms, in no order; the most promising, where there are more than `limit`."""
        ...


class MemoryLibrary:
    """The library in memory; nothing is ever too much for it, so `candidates` gives all."""

    def __init__(self) -> None:
        self._documents: dict[str, tuple[Prepared, datetime]] = {}

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        return {key: self._documents[key][0].digest for key in document_ids if key in self._documents}

    async def put(self, documents: Sequence[Prepared], now: datetime) -> None:
        self._documents.update({document.draft.document_id: (document, now) for document in documents})

    async def get(self, document_id: str) -> Document:
        if document_id not in self._documents:
            raise NotFound(resource="document", id=document_id)
        return self._document(document_id, with_text=True)

    async def page(self, after: str, size: int) -> list[Document]:
        ids = sorted(document_id for document_id in self._documents if document_id > after)
        return [self._document(document_id, with_text=False) for document_id in ids[:size]]

    async def remove(self, document_ids: Sequence[str]) -> int:
        return sum(self._documents.pop(document_id, None) is not None for document_id in document_ids)

    async def corpus(self, terms: Sequence[str]) -> Corpus:
        entries = [entry for document, _ in self._documents.values() for entry in document.entries]
        frequency = Counter(term for entry in entries for term in set(entry.terms) & set(terms))
        return Corpus(len(entries), sum(len(entry.terms) for entry in entries), frequency)

    async def candidates(self, terms: Sequence[str], corpus: Corpus, limit: int) -> list[Candidate]:
        return [
            Candidate(Source(key, document.draft.title, document.draft.uri), ordinal, entry)
            for key, (document, _) in self._documents.items()
            for ordinal, entry in enumerate(document.entries)
            if set(entry.terms) & set(terms)
        ]

    def _document(self, document_id: str, *, with_text: bool) -> Document:
        document, stored = self._documents[document_id]
        values = vars(document.draft) | ({} if with_text else {"text": ""})
        return Document(**values, passage_count=len(document.entries), update_time=stored)
