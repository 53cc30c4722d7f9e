"""The twin in memory of the store of documents."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from graphmesh_chassis.errors import NotFound

from graphmesh_retrieval.documents import MAX_SURVEYED_ENTRIES, Lists, Surveyed
from graphmesh_retrieval.domain import AnalyzedDocument, Corpus, Document, StoredPassage
from graphmesh_retrieval.indexing import added_rows, dead_rows, first_numbers
from graphmesh_retrieval.postings import BLOCK_PASSAGES, NewPostings


@dataclass(frozen=True)
class _Version:
    document: Document
    first_number: int

    @property
    def numbers(self) -> range:
        return range(self.first_number, self.first_number + self.document.passage_count)


class MemoryDocuments:
    """The documents of one tenant in memory. Its blocks are never compacted."""

    def __init__(self) -> None:
        self._versions: dict[str, list[_Version]] = {}
        self._passages: dict[int, StoredPassage] = {}
        self._index: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._vectors: dict[int, tuple[str, bytes]] = {}
        self._corpus = Corpus()
        self._languages: Counter[str] = Counter()

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        return {key: self._versions[key][-1].document.digest for key in document_ids if key in self._versions}

    async def put(self, documents: Sequence[AnalyzedDocument], now: datetime) -> None:
        firsts = first_numbers(documents, self._corpus.next_number)
        self._append(self._ended(documents, now), *added_rows(documents, self._corpus.next_number))
        for document, first in zip(documents, firsts, strict=False):
            self._add(document, first, now)
        self._languages.update(document.draft.language for document in documents)
        indexed = [passage for document in documents for passage in document.passages]
        self._corpus = Corpus(
            self._corpus.passages + len(indexed),
            self._corpus.length + sum(passage.length for passage in indexed),
            firsts[-1],
            tuple(language for language, _ in self._languages.most_common()),
            range(-(-firsts[-1] // BLOCK_PASSAGES)),
        )

    async def get(self, document_id: str, version: int = 0, as_of: datetime | None = None) -> Document:
        return self._version(document_id, version, as_of).document

    async def page(self, after: str, size: int) -> list[Document]:
        ids = sorted(document_id for document_id in self._versions if document_id > after)
        return [replace(self._versions[document_id][-1].document, text="") for document_id in ids[:size]]

    async def versions(self, document_id: str, before: int, size: int) -> list[Document]:
        found = [version.document for version in reversed(self._versions.get(document_id, []))]
        return [replace(document, text="") for document in found if not before or document.version < before][:size]

    async def delete(self, document_ids: Sequence[str]) -> int:
        found = [self._versions.pop(document_id) for document_id in document_ids if document_id in self._versions]
        self._append(dead_rows(number for versions in found for number in versions[-1].numbers))
        self._drop(version for versions in found for version in versions)
        return len(found)

    async def prune(self, document_ids: Sequence[str], keep: int, before: datetime) -> None:
        for document_id in document_ids:
            *ended, current = self._versions[document_id]
            kept = [version for version in ended[len(ended) - keep :] if _end(version) >= before] if keep else []
            self._versions[document_id] = [*kept, current]
            self._drop(version for version in ended if version not in kept)

    async def corpus(self) -> Corpus:
        return self._corpus

    async def survey(self, terms: Sequence[int]) -> dict[int, Surveyed]:
        return {term: surveyed(rows) for term, rows in (await self.lists(terms)).items()}

    async def lists(self, terms: Sequence[int], blocks: Sequence[int] | None = None) -> Lists:
        rows = {term: sorted(self._index[term].items()) for term in terms if term in self._index}
        if blocks is not None:
            rows = {term: [row for row in found if row[0] in blocks] for term, found in rows.items()}
        return {term: found for term, found in rows.items() if found}

    async def passages(self, numbers: Sequence[int]) -> dict[int, StoredPassage]:
        return {number: self._passages[number] for number in numbers if number in self._passages}

    async def passage(self, document_id: str, version: int, ordinal: int) -> StoredPassage:
        numbers = self._version(document_id, version, None).numbers
        if ordinal >= len(numbers):
            raise NotFound(resource="passage", id=f"{document_id}#{ordinal}")
        return self._passages[numbers[ordinal]]

    async def vectors(self, embedder: str, begin: int, end: int) -> list[tuple[int, bytes]]:
        return list((await self.vectors_of(embedder, range(begin, end))).items())

    async def vectors_of(self, embedder: str, numbers: Sequence[int]) -> dict[int, bytes]:
        found = ((number, self._vectors[number]) for number in numbers if number in self._vectors)
        return {number: vector for number, (name, vector) in found if name == embedder}

    def _version(self, document_id: str, version: int, as_of: datetime | None) -> _Version:
        for stored in reversed(self._versions.get(document_id, [])):
            document = stored.document
            if document.was_current(as_of) if as_of else version in (0, document.version):
                return stored
        raise NotFound(resource="document", id=document_id)

    def _ended(self, documents: Sequence[AnalyzedDocument], now: datetime) -> NewPostings:
        """End the current versions of the documents, and return the rows of their dead passages."""
        dead: list[int] = []
        for document in documents:
            if versions := self._versions.get(document.draft.document_id):
                versions[-1] = replace(versions[-1], document=replace(versions[-1].document, end_time=now))
                dead += versions[-1].numbers
                for number in versions[-1].numbers:
                    ended = replace(versions[-1].document, text="")
                    self._passages[number] = replace(self._passages[number], document=ended)
        return dead_rows(dead)

    def _add(self, analyzed: AnalyzedDocument, first: int, now: datetime) -> None:
        versions = self._versions.setdefault(analyzed.draft.document_id, [])
        draft = analyzed.draft
        document = Document(
            draft.document_id,
            versions[-1].document.version + 1 if versions else 1,
            draft.title,
            draft.uri,
            draft.text,
            draft.attributes,
            draft.format,
            draft.language,
            draft.readers,
            analyzed.digest,
            len(analyzed.passages),
            now,
            None,
        )
        versions.append(_Version(document, first))
        for number, vector in enumerate(analyzed.vectors, first):
            self._vectors[number] = (analyzed.embedder, vector)
        for ordinal, indexed in enumerate(analyzed.passages):
            self._passages[first + ordinal] = StoredPassage(replace(document, text=""), ordinal, indexed.passage)

    def _append(self, *added: NewPostings) -> None:
        for postings in added:
            for block, term, _, entries in postings.rows():
                blocks = self._index[term]
                blocks[block] = blocks.get(block, b"") + entries

    def _drop(self, versions: Iterable[_Version]) -> None:
        for version in versions:
            for number in version.numbers:
                del self._passages[number]
                self._vectors.pop(number, None)


def surveyed(rows: Sequence[tuple[int, bytes]]) -> Surveyed:
    """Return what a survey finds of a posting list."""
    sizes = [len(entries) // 4 for _, entries in rows]
    return Surveyed(sum(sizes), rows if max(sizes) <= MAX_SURVEYED_ENTRIES else None)


def _end(version: _Version) -> datetime:
    assert version.document.end_time is not None
    return version.document.end_time
