"""Analyzes documents, and stores those that have changed."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from graphmesh_retrieval.analysis.languages import detect
from graphmesh_retrieval.analysis.terms import terms
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.domain import AnalyzedDocument, Draft, Format, IndexedPassage, Passage, Unreadable
from graphmesh_retrieval.embedders import Embedder
from graphmesh_retrieval.markdown import first_heading, front_matter_title, split_passages, split_plain
from graphmesh_retrieval.postings import MAX_WEIGHT
from graphmesh_retrieval.vectors import encode

MAX_TITLE_CHARACTERS: Final = 500
"""Characters of a heading that is used as a title."""
TEXT_WEIGHT: Final = 4
HEADING_WEIGHT: Final = 6
TITLE_WEIGHT: Final = 8


@dataclass(frozen=True)
class IngestSummary:
    """Numbers of documents, and of the passages of those that were stored."""

    added: int
    replaced: int
    unchanged: int
    passages: int
    failures: Mapping[str, str] = field(default_factory=dict)
    """The documents that cannot be read, by id, with the reasons."""


def analyze(
    drafts: Mapping[str, Draft | Unreadable], digests: Mapping[str, str], is_cancelled: Callable[[], bool]
) -> dict[str, AnalyzedDocument | Unreadable]:
    """Split documents into passages with their terms, until it is cancelled.

    It is CPU-bound, seconds for megabytes of text: call it in a thread, and before a transaction begins.
    """
    return {
        key: draft if isinstance(draft, Unreadable) else _analyzed(draft, digests[key])
        for key, draft in drafts.items()
        if not is_cancelled()
    }


async def add_vectors(
    embedder: Embedder, analyzed: Mapping[str, AnalyzedDocument | Unreadable]
) -> dict[str, AnalyzedDocument | Unreadable]:
    """Add the vectors of the passages. Raises ProviderUnavailable."""
    embedded = dict(analyzed)
    for key, result in analyzed.items():
        if isinstance(result, AnalyzedDocument) and result.passages:
            texts = [_embedded_text(result.draft, indexed.passage) for indexed in result.passages]
            vectors = tuple(encode(await embedder.embed_texts(texts)))
            embedded[key] = replace(result, embedder=embedder.name, vectors=vectors)
    return embedded


def _embedded_text(draft: Draft, passage: Passage) -> str:
    return "\n".join((*dict.fromkeys((draft.title, *passage.headings)), passage.text))


@dataclass(frozen=True)
class Retention:
    """How long earlier versions of documents are kept."""

    versions: int = 20
    days: int = 365


async def store_changed(
    documents: Documents,
    analyzed: Mapping[str, AnalyzedDocument | Unreadable],
    unchanged: int,
    now: datetime,
    retention: Retention,
) -> IngestSummary:
    """Store documents that are new or changed; `unchanged` others were not analyzed.

    Earlier versions of the changed ones are deleted where they are not retained.
    """
    found = [result for result in analyzed.values() if isinstance(result, AnalyzedDocument)]
    stored = await documents.digests([document.draft.document_id for document in found])
    changed = [document for document in found if stored.get(document.draft.document_id) != document.digest]
    replaced = [document.draft.document_id for document in changed if document.draft.document_id in stored]
    await documents.put(changed, now)
    if replaced:
        await documents.prune(replaced, retention.versions, now - timedelta(days=retention.days))
    return IngestSummary(
        added=len(changed) - len(replaced),
        replaced=len(replaced),
        unchanged=unchanged + len(found) - len(changed),
        passages=sum(len(document.passages) for document in changed),
        failures={key: result.reason for key, result in analyzed.items() if isinstance(result, Unreadable)},
    )


def _analyzed(draft: Draft, digest: str) -> AnalyzedDocument:
    draft = _normalized(draft)
    return AnalyzedDocument(draft, digest, _indexed_passages(draft))


def _normalized(draft: Draft) -> Draft:
    """Give a document LF as line ends, a title where it has none, and a language where it can be detected."""
    text = draft.text.replace("\r\n", "\n").replace("\r", "\n")
    found = "" if draft.format is Format.PLAIN else front_matter_title(text) or first_heading(text)
    title = draft.title or found[:MAX_TITLE_CHARACTERS] or draft.document_id
    return replace(draft, text=text, title=title, language=draft.language or detect(f"{draft.title}\n{text}"))


def _indexed_passages(draft: Draft) -> tuple[IndexedPassage, ...]:
    if draft.format is Format.PLAIN:
        passages = split_plain(draft.text)
    else:
        passages = split_passages(draft.text, mdx=draft.format is Format.MDX)
    title = Counter(terms(draft.title, draft.language))
    return tuple(_indexed(passage, draft, title) for passage in passages)


def _indexed(passage: Passage, draft: Draft, title: Counter[int]) -> IndexedPassage:
    """Weigh the terms of title, headings and text. The top heading often repeats the title, which is counted once."""
    found = terms(passage.text, draft.language)
    weights = {term: TEXT_WEIGHT * count for term, count in Counter(found).items()}
    headings = [heading for heading in dict.fromkeys(passage.headings) if heading != draft.title]
    for term in (term for heading in headings for term in terms(heading, draft.language)):
        weights[term] = weights.get(term, 0) + HEADING_WEIGHT
    for term, count in title.items():
        weights[term] = weights.get(term, 0) + TITLE_WEIGHT * count
    capped = {term: min(weight, MAX_WEIGHT) for term, weight in weights.items()}
    return IndexedPassage(passage, capped, len(found))
