"""Analyzes documents, and stores those that have changed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from graphmesh_retrieval.analysis import terms
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.domain import AnalyzedDocument, Draft, IndexedPassage, Passage
from graphmesh_retrieval.markdown import first_heading, split_passages

MAX_TITLE_CHARACTERS: Final = 500
"""Characters of a heading that is used as a title."""


@dataclass(frozen=True)
class IngestSummary:
    """Numbers of documents, and of the passages of those that were stored."""

    added: int
    replaced: int
    unchanged: int
    passages: int


def analyze(drafts: Iterable[Draft]) -> list[AnalyzedDocument]:
    """Split documents into passages with their terms; of several drafts with one id, the last is used.

    It is CPU-bound, seconds for megabytes of text: call it in a thread, and before a transaction begins.
    """
    last = {draft.document_id: _titled(draft) for draft in drafts}
    return [AnalyzedDocument(draft, draft.digest(), _indexed_passages(draft)) for draft in last.values()]


async def store_changed(documents: Documents, analyzed: list[AnalyzedDocument]) -> IngestSummary:
    """Store the new and the changed documents."""
    stored = await documents.digests([document.draft.document_id for document in analyzed])
    changed = [document for document in analyzed if stored.get(document.draft.document_id) != document.digest]
    replaced = sum(document.draft.document_id in stored for document in changed)
    await documents.put(changed, datetime.now(UTC))
    return IngestSummary(
        added=len(changed) - replaced,
        replaced=replaced,
        unchanged=len(analyzed) - len(changed),
        passages=sum(len(document.passages) for document in changed),
    )


def _titled(draft: Draft) -> Draft:
    """Give a document without a title its first heading as the title, or else its id."""
    return replace(draft, title=draft.title or first_heading(draft.text)[:MAX_TITLE_CHARACTERS] or draft.document_id)


def _indexed_passages(draft: Draft) -> tuple[IndexedPassage, ...]:
    return tuple(
        IndexedPassage(passage.headings, passage.text, _terms(draft.title, passage))
        for passage in split_passages(draft.text)
    )


def _terms(title: str, passage: Passage) -> tuple[str, ...]:
    """Return the terms of title, headings and text. The top heading often repeats the title, which is counted once."""
    distinct_headings = dict.fromkeys((title, *passage.headings))
    return tuple(term for text in (*distinct_headings, passage.text) for term in terms(text))
