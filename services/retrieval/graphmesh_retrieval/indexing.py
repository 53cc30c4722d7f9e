"""The rows that documents add to the index."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from graphmesh_retrieval.domain import AnalyzedDocument
from graphmesh_retrieval.postings import ANY_SCOPE, DEAD, GONE, RESTRICTED, NewPostings, mark_rows, reader_mark, rows_of

SCOPE: Final = "scope:"


def first_numbers(documents: Sequence[AnalyzedDocument], next_number: int) -> list[int]:
    """Return the number of the first passage of each document; the last item is that of the next document."""
    return list(accumulate((len(document.passages) for document in documents), initial=next_number))


def added_rows(documents: Sequence[AnalyzedDocument], next_number: int) -> list[NewPostings]:
    """Return the rows of words and of marks to append for new passages, with the numbers from `next_number` on."""
    passages = [passage for document in documents for passage in document.passages]
    numbers = range(next_number, next_number + len(passages))
    return [rows_of(passages, numbers), mark_rows(_reader_marks(documents, next_number))]


def dead_rows(numbers: Iterable[int]) -> NewPostings:
    """Return the rows to append for passages that are no longer current."""
    return mark_rows((DEAD, number) for number in numbers)


def gone_rows(numbers: Iterable[int]) -> NewPostings:
    """Return the rows to append for passages that are no longer stored."""
    return mark_rows((GONE, number) for number in numbers)


def _reader_marks(documents: Sequence[AnalyzedDocument], next_number: int) -> Iterator[tuple[int, int]]:
    for document, first in zip(documents, first_numbers(documents, next_number), strict=False):
        marks = set(map(reader_mark, document.draft.readers))
        if document.draft.readers:
            marks.add(RESTRICTED)
        if any(reader.startswith(SCOPE) for reader in document.draft.readers):
            marks.add(ANY_SCOPE)
        yield from ((mark, first + ordinal) for mark in marks for ordinal in range(len(document.passages)))
