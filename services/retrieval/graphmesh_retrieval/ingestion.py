"""Analyzes documents, and stores those that have changed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from graphmesh_retrieval.analysis.languages import detect
from graphmesh_retrieval.analysis.terms import terms
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.domain import AnalyzedDocument, Draft, Format, IndexedPassage, Passage
from graphmesh_retrieval.extraction import Unreadable, extract
from graphmesh_retrieval.markdown import first_heading, front_matter_title, split_passages, split_plain
from graphmesh_retrieval.postings import MAX_WEIGHT

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


Drafts = dict[str, tuple[Draft, str]]
"""Documents to ingest with their digests, by id."""


def last_of_each(drafts: Iterable[Draft]) -> Drafts:
    """Return the drafts with their digests, by id; of several with one id, the last."""
    return {draft.document_id: (draft, draft.digest()) for draft in drafts}


def analyze(drafts: Iterable[tuple[Draft, str]]) -> dict[str, AnalyzedDocument | Unreadable]:
    """Split documents, given with their digests, into passages with their terms.

    It is CPU-bound, seconds for megabytes of text: call it in a thread, and before a transaction begins.
    """
    return {draft.document_id: _analyzed(draft, digest) for draft, digest in drafts}


async def store_changed(
    documents: Documents, drafts: Drafts, analyzed: Mapping[str, AnalyzedDocument | Unreadable]
) -> IngestSummary:
    """Store the new and the changed documents, which are `analyzed` unless another call changed them meanwhile."""
    stored = await documents.digests(list(drafts))
    differing = {key: given for key, given in drafts.items() if stored.get(key) != given[1]}
    results = {key: analyzed.get(key) or _analyzed(*given) for key, given in differing.items()}
    changed = [result for result in results.values() if isinstance(result, AnalyzedDocument)]
    replaced = sum(document.draft.document_id in stored for document in changed)
    await documents.put(changed, datetime.now(UTC))
    return IngestSummary(
        added=len(changed) - replaced,
        replaced=replaced,
        unchanged=len(drafts) - len(differing),
        passages=sum(len(document.passages) for document in changed),
        failures={key: str(result) for key, result in results.items() if isinstance(result, Unreadable)},
    )


def _analyzed(draft: Draft, digest: str) -> AnalyzedDocument | Unreadable:
    try:
        draft = _normalized(extract(draft))
    except Unreadable as unreadable:
        return unreadable
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
