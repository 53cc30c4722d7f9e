"""Documents in."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from graphmesh_retrieval.analysis import terms
from graphmesh_retrieval.domain import Draft, Entry, Prepared, Section
from graphmesh_retrieval.library import Library
from graphmesh_retrieval.markdown import first_heading, sections

LONGEST_TITLE: Final = 500
"""Characters of a heading that becomes a title."""


@dataclass(frozen=True)
class Outcome:
    """How many documents were what, and how many passages came of those that were stored."""

    added: int
    replaced: int
    unchanged: int
    passages: int


def prepare(drafts: Iterable[Draft]) -> list[Prepared]:
    """Cut documents into passages and find their terms; of several with one id, the last counts.

    Megabytes take seconds: call it in a thread, and before a transaction is begun.
    """
    last = {draft.document_id: _titled(draft) for draft in drafts}
    return [Prepared(draft, draft.digest(), _entries(draft)) for draft in last.values()]


async def store(library: Library, documents: list[Prepared]) -> Outcome:
    """Put those that are new or different into the library."""
    known = await library.digests([document.draft.document_id for document in documents])
    changed = [document for document in documents if known.get(document.draft.document_id) != document.digest]
    replaced = sum(document.draft.document_id in known for document in changed)
    await library.put(changed, datetime.now(UTC))
    return Outcome(
        added=len(changed) - replaced,
        replaced=replaced,
        unchanged=len(documents) - len(changed),
        passages=sum(len(document.entries) for document in changed),
    )


def _titled(draft: Draft) -> Draft:
    """The document with the title that it has or that its text gives it."""
    return replace(draft, title=draft.title or first_heading(draft.text)[:LONGEST_TITLE] or draft.document_id)


def _entries(draft: Draft) -> tuple[Entry, ...]:
    return tuple(Entry(section, _terms(draft, section)) for section in sections(draft.text))


def _terms(draft: Draft, section: Section) -> tuple[str, ...]:
    """Those of the text, the headings and the title, which a top heading often repeats."""
    above = dict.fromkeys((draft.title, *section.headings))
    return tuple(term for text in (*above, section.text) for term in terms(text))
