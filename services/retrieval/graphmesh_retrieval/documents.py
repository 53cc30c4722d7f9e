"""The port to the store of documents, passages and their index."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from graphmesh_retrieval.domain import AnalyzedDocument, Corpus, Document, StoredPassage

Lists = Mapping[int, Sequence[tuple[int, bytes]]]
"""The posting lists of terms: the blocks, ascending, with their entries."""
MAX_SURVEYED_ENTRIES: Final = 64
"""Entries of a row that are read where the sizes of posting lists are."""


class Surveyed(NamedTuple):
    """The postings of a term: how many they are, and the list itself where it is short."""

    size: int
    rows: Sequence[tuple[int, bytes]] | None
    """None: a row has more than `MAX_SURVEYED_ENTRIES`."""


class Documents(Protocol):
    """The documents of one tenant."""

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        """Return the digests of the current versions of the stored ones among the documents, by id."""
        ...

    async def put(self, documents: Sequence[AnalyzedDocument], now: datetime) -> None:
        """Store new versions of documents, whose ids must be distinct."""
        ...

    async def get(self, document_id: str, version: int = 0, as_of: datetime | None = None) -> Document:
        """Return a version, that of a time, or the current one. Raises NotFound."""
        ...

    async def page(self, after: str, size: int) -> list[Document]:
        """Return the first `size` documents in the order of ids, after the id `after`, with empty texts."""
        ...

    async def versions(self, document_id: str, before: int, size: int) -> list[Document]:
        """Return the newest `size` versions below `before` (0: all) with empty texts, in descending order."""
        ...

    async def delete(self, document_ids: Sequence[str]) -> int:
        """Delete all versions of the documents that exist, and return the number of documents."""
        ...

    async def prune(self, document_ids: Sequence[str], keep: int, before: datetime) -> None:
        """Delete versions that ended earlier than `before`, and all but the newest `keep` ended ones of a document."""
        ...

    async def corpus(self) -> Corpus: ...

    async def survey(self, terms: Sequence[int]) -> dict[int, Surveyed]:
        """Return the terms that indexed passages have, including dead ones."""
        ...

    async def lists(self, terms: Sequence[int], blocks: Sequence[int] | None = None) -> Lists:
        """Return the posting lists of the terms that have any in the blocks; None: in all."""
        ...

    async def passages(self, numbers: Sequence[int]) -> dict[int, StoredPassage]:
        """Return the passages with these numbers that are stored."""
        ...

    async def passage(self, document_id: str, version: int, ordinal: int) -> StoredPassage:
        """Return a passage of a version (0: the current one). Raises NotFound."""
        ...

    async def vectors(self, embedder: str, begin: int, end: int) -> list[tuple[int, bytes]]:
        """Return the numbers and vectors of the passages from number `begin` up to `end`, in order."""
        ...

    async def vectors_of(self, embedder: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """Return the vectors of the passages with these numbers that have one."""
        ...
