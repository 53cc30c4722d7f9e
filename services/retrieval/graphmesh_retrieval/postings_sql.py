"""The inverted index in a database."""

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_retrieval.documents import MAX_SURVEYED_ENTRIES, Lists, Surveyed
from graphmesh_retrieval.postings import NewPostings

# A list is one parameter: the statement is the same for every number of terms, and is compiled once.
_SQLITE_APPEND = """
    INSERT INTO postings (corpus, block, term, size, entries) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (corpus, block, term) DO UPDATE
    SET size = size + excluded.size, entries = CAST(entries || excluded.entries AS BLOB)
"""
_POSTGRESQL_APPEND = sa.text("""
    INSERT INTO postings (corpus, block, term, size, entries)
    SELECT :corpus, block, term, size, substring(CAST(:entries AS bytea) FROM start FOR 4 * size)
    FROM unnest(
        CAST(:blocks AS integer[]), CAST(:terms AS bigint[]), CAST(:sizes AS integer[]), CAST(:starts AS integer[])
    ) AS rows (block, term, size, start)
    ON CONFLICT (corpus, block, term) DO UPDATE
    SET size = postings.size + excluded.size, entries = postings.entries || excluded.entries
""")
_SQLITE_AMONG = """
    corpus = :corpus AND block IN (SELECT value FROM json_each(:blocks))
    AND term IN (SELECT value FROM json_each(:terms))
"""
_POSTGRESQL_AMONG = """
    corpus = :corpus AND block = ANY(CAST(:blocks AS integer[])) AND term = ANY(CAST(:terms AS bigint[]))
"""
_SURVEYED = f"term, block, size, CASE WHEN size <= {MAX_SURVEYED_ENTRIES} THEN entries END"
_SURVEY = {
    True: sa.text(f"SELECT {_SURVEYED} FROM postings WHERE {_SQLITE_AMONG}"),
    False: sa.text(f"SELECT {_SURVEYED} FROM postings WHERE {_POSTGRESQL_AMONG}"),
}
_LISTS = {
    True: sa.text(f"SELECT term, block, entries FROM postings WHERE {_SQLITE_AMONG}"),
    False: sa.text(f"SELECT term, block, entries FROM postings WHERE {_POSTGRESQL_AMONG}"),
}
"""By whether the database is SQLite. The key of the table finds each pair of block and term in a few steps."""


class SqlPostings:
    """The index of one corpus, over one connection."""

    def __init__(self, connection: AsyncConnection, corpus: int) -> None:
        self._connection = connection
        self._corpus = corpus
        self._sqlite = connection.dialect.name == "sqlite"

    async def append(self, added: NewPostings) -> None:
        if not added.blocks:
            return
        if self._sqlite:
            await self._connection.exec_driver_sql(_SQLITE_APPEND, [(self._corpus, *row) for row in added.rows()])
            return
        starts = accumulate(added.sizes[:-1], lambda start, size: start + 4 * size, initial=1)
        arrays = {"blocks": added.blocks, "terms": added.terms, "sizes": added.sizes, "starts": starts}
        values: dict[str, Any] = {name: _array(numbers) for name, numbers in arrays.items()}
        await self._connection.execute(_POSTGRESQL_APPEND, {"corpus": self._corpus, "entries": added.entries, **values})

    async def survey(self, terms: Sequence[int], blocks: Iterable[int]) -> dict[int, Surveyed]:
        """Return the terms that have postings."""
        rows: dict[int, list[tuple[int, int, bytes | None]]] = {}
        for term, *row in await self._select(_SURVEY, terms, blocks):
            rows.setdefault(term, []).append(tuple(row))
        return {term: _surveyed(found) for term, found in rows.items()}

    async def lists(self, terms: Sequence[int], blocks: Iterable[int]) -> Lists:
        """Return the posting lists of the terms that have any."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        for term, block, entries in await self._select(_LISTS, terms, blocks):
            found.setdefault(term, []).append((block, entries))
        for blocks_of_term in found.values():
            blocks_of_term.sort()
        return found

    async def _select(self, statements: dict[bool, sa.TextClause], terms: Sequence[int], blocks: Iterable[int]) -> Any:
        values = {"blocks": list(blocks), "terms": list(terms)}
        encoded = {name: json.dumps(value) for name, value in values.items()} if self._sqlite else values
        return await self._connection.execute(statements[self._sqlite], {"corpus": self._corpus, **encoded})


def _surveyed(rows: list[tuple[int, int, bytes | None]]) -> Surveyed:
    short = sorted((block, entries) for block, _, entries in rows if entries is not None)
    return Surveyed(sum(size for _, size, _ in rows), short if len(short) == len(rows) else None)


def _array(numbers: Iterable[int]) -> str:
    """Return an array of PostgreSQL as text: the driver's own way takes microseconds for each element."""
    return f"{{{','.join(map(str, numbers))}}}"
