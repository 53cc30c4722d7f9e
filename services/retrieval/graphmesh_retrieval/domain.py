"""Documents, their versions and their passages."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Format(Enum):
    """The format of a document's content; the values are those on the wire."""

    MARKDOWN = 1
    MDX = 2
    HTML = 3
    PLAIN = 4
    PDF = 5
    DOCX = 6


@dataclass(frozen=True)
class Draft:
    """A document to ingest."""

    document_id: str
    title: str
    uri: str
    text: str
    attributes: Mapping[str, str]
    format: Format = Format.MARKDOWN
    language: str = ""
    readers: tuple[str, ...] = ()
    """`subject:…` and `scope:…` of the callers that may find it; empty: all."""
    content: bytes = field(default=b"", repr=False)
    """The file of a PDF or Word document; empty for text."""

    def digest(self, embedder: str = "") -> str:
        """Hash the input, so that unchanged documents are not stored again, unless the embedder has changed."""
        values = [
            embedder,
            self.title,
            self.uri,
            self.text,
            sorted(self.attributes.items()),
            self.format.value,
            self.language,
        ]
        content = json.dumps([*values, sorted(self.readers)]).encode()
        return hashlib.sha256(content + b"\0" + self.content if self.content else content).hexdigest()


@dataclass(frozen=True)
class Unreadable:
    """The reason for which a document cannot be read, as a sentence."""

    reason: str


@dataclass(frozen=True)
class Document:
    """A stored version of a document."""

    document_id: str
    version: int
    title: str
    uri: str
    text: str
    attributes: Mapping[str, str]
    format: Format
    language: str
    readers: tuple[str, ...]
    digest: str
    passage_count: int
    update_time: datetime
    end_time: datetime | None
    """When it was replaced; None for the current version."""

    def was_current(self, time: datetime) -> bool:
        return self.update_time <= time and (self.end_time is None or time < self.end_time)


@dataclass(frozen=True)
class Passage:
    """A part of a document's text."""

    headings: tuple[str, ...]
    """The headings above it, from the outermost."""
    text: str
    start: int
    """The index of its first character in the document's text."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class IndexedPassage:
    """A passage with its index terms."""

    passage: Passage
    weights: Mapping[int, int]
    """The weighted frequency of each term, from 1 to 255."""
    length: int
    """The number of terms of its text."""


@dataclass(frozen=True)
class AnalyzedDocument:
    """A document with its passages and terms, ready to be stored."""

    draft: Draft
    digest: str
    passages: tuple[IndexedPassage, ...]
    embedder: str = ""
    vectors: tuple[bytes, ...] = ()
    """The vector of each passage; empty without an embedder."""


@dataclass(frozen=True)
class Corpus:
    """What the index of a tenant holds."""

    passages: int = 0
    """The number of indexed passages; deleted ones are included until their block is compacted."""
    length: int = 0
    """The number of terms of their texts together."""
    next_number: int = 0
    """The number that the next passage gets."""
    languages: tuple[str, ...] = ()
    """The languages of the documents, the commonest first."""
    blocks: Sequence[int] = ()
    """The blocks of the index, without those that compaction has emptied."""
    compactions: int = 0
    """How many blocks were compacted."""
    has_dead: bool = True
    """False: no passage was deleted or replaced, except for those that compaction has removed."""
    has_restricted: bool = True
    """False: no document has had readers."""

    @property
    def mean_length(self) -> float:
        return self.length / self.passages if self.passages else 1.0


@dataclass(frozen=True)
class StoredPassage:
    """A passage with the version of the document that it belongs to."""

    document: Document
    """Without its text."""
    ordinal: int
    passage: Passage

    @property
    def passage_id(self) -> str:
        return f"{self.document.document_id}#{self.ordinal}"


@dataclass(frozen=True)
class Hit:
    """A found passage."""

    found: StoredPassage
    score: float
    """The share of the query's words that it has, from 0 to 1."""


@dataclass(frozen=True)
class Reader:
    """A caller, as far as it decides about the documents that it may find."""

    subject: str
    scopes: frozenset[str] | None
    """None: every scope."""

    def may_read(self, readers: Sequence[str]) -> bool:
        """Whether it may find a document with these readers."""
        return not readers or any(self._is(reader) for reader in readers)

    def _is(self, reader: str) -> bool:
        kind, _, name = reader.partition(":")
        return name == self.subject if kind == "subject" else self.scopes is None or name in self.scopes
