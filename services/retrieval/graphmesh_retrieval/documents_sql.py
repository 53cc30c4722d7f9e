"""Documents in a database, SQLite or PostgreSQL."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from graphmesh_chassis.database import dialect_insert
from graphmesh_chassis.errors import NotFound
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_retrieval.documents import Lists, Surveyed
from graphmesh_retrieval.documents_tables import NUMBERS_OF_CORPUS, corpora, documents, passages, vectors
from graphmesh_retrieval.domain import AnalyzedDocument, Corpus, Document, Format, Passage, StoredPassage
from graphmesh_retrieval.indexing import added_rows, dead_rows, first_numbers, gone_rows
from graphmesh_retrieval.postings import BLOCK_PASSAGES
from graphmesh_retrieval.postings_sql import SqlPostings
from graphmesh_retrieval.vectors_sql import SqlVectors

_OUTSIDE = ("id", "tenant", "first_number")
_COLUMNS = [column for column in documents.c if column.name not in (*_OUTSIDE, "text")]
"""The columns of a document without its text."""
_CURRENT = documents.c.end_time.is_(None)


class SqlDocuments:
    """Documents of one tenant, over one connection."""

    def __init__(self, connection: AsyncConnection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self._corpus: sa.Row[Any] | None = None

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        query = sa.select(documents.c.document_id, documents.c.digest).where(self._among(document_ids), _CURRENT)
        return {row.document_id: row.digest for row in await self._connection.execute(query)}

    async def put(self, prepared: Sequence[AnalyzedDocument], now: datetime) -> None:
        """Write under the lock of the corpus' row, so that numbers of passages are unique."""
        if not prepared:
            return
        corpus = await self._lock()
        ended = await self._end_current([document.draft.document_id for document in prepared], now)
        firsts = first_numbers(prepared, corpus.next_number)
        await self._insert_documents(prepared, firsts, {row.document_id: row.version for row in ended}, now)
        await SqlVectors(self._connection, corpus.corpus).add(prepared, firsts)
        for rows in (dead_rows(_numbers(ended)), *added_rows(prepared, corpus.next_number)):
            await SqlPostings(self._connection, corpus.corpus).append(rows)
        await self._update_corpus(corpus, prepared, firsts[-1], len(_numbers(ended)))

    async def get(self, document_id: str, version: int = 0, as_of: datetime | None = None) -> Document:
        row = await self._version(document_id, version, as_of, _COLUMNS, documents.c.text)
        return _document(row, row.text)

    async def page(self, after: str, size: int) -> list[Document]:
        query = (
            sa.select(*_COLUMNS)
            .where(documents.c.tenant == self._tenant, documents.c.document_id > after, _CURRENT)
            .order_by(documents.c.document_id)
            .limit(size)
        )
        return [_document(row) for row in await self._connection.execute(query)]

    async def versions(self, document_id: str, before: int, size: int) -> list[Document]:
        query = sa.select(*_COLUMNS).where(self._among([document_id])).order_by(documents.c.version.desc()).limit(size)
        if before:
            query = query.where(documents.c.version < before)
        return [_document(row) for row in await self._connection.execute(query)]

    async def delete(self, document_ids: Sequence[str]) -> int:
        corpus = await self._lock()
        found = await self._rows(self._among(document_ids))
        await self._delete_versions(corpus, found)
        current = [row for row in found if row.end_time is None]
        dead = _numbers(current)
        await SqlPostings(self._connection, corpus.corpus).append(dead_rows(dead))
        counted = sa.update(corpora).where(corpora.c.corpus == corpus.corpus)
        await self._connection.execute(counted.values(dead=corpora.c.dead + len(dead)))
        return len(current)

    async def prune(self, document_ids: Sequence[str], keep: int, before: datetime) -> None:
        ended = sa.and_(self._among(document_ids), documents.c.end_time.is_not(None))
        rank = sa.func.row_number().over(partition_by=documents.c.document_id, order_by=documents.c.version.desc())
        ranked = sa.select(documents.c.id, documents.c.end_time, rank.label("rank")).where(ended).subquery()
        excess = sa.select(ranked.c.id).where(sa.or_(ranked.c.rank > keep, ranked.c.end_time < before))
        if found := await self._rows(documents.c.id.in_(excess)):
            await self._delete_versions(await self._lock(), found)

    async def corpus(self) -> Corpus:
        row = await self._corpus_row()
        if row is None:
            return Corpus()
        languages = _by_count(row.languages)
        return Corpus(
            row.passages,
            row.length,
            row.next_number,
            languages,
            _blocks(row),
            row.compactions,
            has_dead=row.dead > 0,
            has_restricted=row.restricted > 0,
        )

    async def survey(self, terms: Sequence[int]) -> dict[int, Surveyed]:
        row = await self._corpus_row()
        return await SqlPostings(self._connection, row.corpus).survey(terms, _blocks(row)) if row else {}

    async def lists(self, terms: Sequence[int], blocks: Sequence[int] | None = None) -> Lists:
        row = await self._corpus_row()
        if row is None:
            return {}
        among = _blocks(row) if blocks is None else blocks
        return await SqlPostings(self._connection, row.corpus).lists(terms, among)

    async def passages(self, numbers: Sequence[int]) -> dict[int, StoredPassage]:
        row = await self._corpus_row()
        if row is None or not numbers:
            return {}
        base = row.corpus * NUMBERS_OF_CORPUS
        query = _PASSAGES.where(passages.c.id.in_([base + number for number in numbers]))
        return {found.id - base: _stored_passage(found) for found in await self._connection.execute(query)}

    async def passage(self, document_id: str, version: int, ordinal: int) -> StoredPassage:
        row = await self._version(document_id, version, None, (documents.c.first_number, documents.c.passage_count))
        found = await self.passages([row.first_number + ordinal]) if ordinal < row.passage_count else {}
        if not found:
            raise NotFound(resource="passage", id=f"{document_id}#{ordinal}")
        return found[row.first_number + ordinal]

    async def vectors(self, embedder: str, begin: int, end: int) -> list[tuple[int, bytes]]:
        row = await self._corpus_row()
        return await SqlVectors(self._connection, row.corpus).between(embedder, begin, end) if row else []

    async def vectors_of(self, embedder: str, numbers: Sequence[int]) -> dict[int, bytes]:
        row = await self._corpus_row()
        return await SqlVectors(self._connection, row.corpus).of(embedder, numbers) if row else {}

    def _among(self, document_ids: Sequence[str]) -> sa.ColumnElement[bool]:
        return sa.and_(documents.c.tenant == self._tenant, documents.c.document_id.in_(document_ids))

    async def _rows(self, condition: sa.ColumnElement[bool]) -> Sequence[sa.Row[Any]]:
        query = sa.select(*(column for column in documents.c if column.name != "text")).where(condition)
        return (await self._connection.execute(query)).all()

    async def _version(self, document_id: str, version: int, as_of: datetime | None, *columns: Any) -> sa.Row[Any]:
        """Return columns of a version. Raises NotFound."""
        query = sa.select(*columns[0], *columns[1:]).where(self._among([document_id]))
        if as_of is not None:
            ends = sa.or_(_CURRENT, documents.c.end_time > as_of)
            query = query.where(documents.c.update_time <= as_of, ends).order_by(documents.c.version.desc()).limit(1)
        else:
            query = query.where(documents.c.version == version if version else _CURRENT)
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(resource="document", id=document_id)
        return row

    async def _corpus_row(self) -> sa.Row[Any] | None:
        if self._corpus is None:
            query = sa.select(corpora).where(corpora.c.tenant == self._tenant)
            self._corpus = (await self._connection.execute(query)).one_or_none()
        return self._corpus

    async def _lock(self) -> sa.Row[Any]:
        """Return the row of the corpus, which no other transaction changes until the end of this one."""
        counts = dict.fromkeys(("next_number", "passages", "length", "dead", "gone", "restricted", "compactions"), 0)
        empty: dict[str, Any] = {**counts, "languages": {}, "empty_blocks": []}
        insert = dialect_insert(self._connection.dialect, corpora).values(tenant=self._tenant, **empty)
        await self._connection.execute(insert.on_conflict_do_nothing(index_elements=["tenant"]))
        query = sa.select(corpora).where(corpora.c.tenant == self._tenant).with_for_update()
        row = (await self._connection.execute(query)).one()
        self._corpus = None
        return row

    async def _end_current(self, document_ids: Sequence[str], now: datetime) -> Sequence[sa.Row[Any]]:
        """End the current versions of the documents, and return their rows."""
        condition = sa.and_(self._among(document_ids), _CURRENT)
        if rows := await self._rows(condition):
            await self._connection.execute(sa.update(documents).where(condition).values(end_time=now))
        return rows

    async def _insert_documents(
        self,
        prepared: Sequence[AnalyzedDocument],
        firsts: Sequence[int],
        versions: dict[str, int],
        now: datetime,
    ) -> None:
        rows = [
            self._document_values(document, versions.get(document.draft.document_id, 0) + 1, first, now)
            for document, first in zip(prepared, firsts, strict=False)
        ]
        inserted = await self._connection.execute(
            sa.insert(documents).returning(documents.c.id, sort_by_parameter_order=True), rows
        )
        corpus = await self._corpus_row()
        assert corpus is not None
        base = corpus.corpus * NUMBERS_OF_CORPUS
        found = [
            {
                "id": base + first + ordinal,
                "document": key,
                "ordinal": ordinal,
                "start": indexed.passage.start,
                "headings": list(indexed.passage.headings),
                "text": indexed.passage.text,
            }
            for document, first, key in zip(prepared, firsts, inserted.scalars(), strict=False)
            for ordinal, indexed in enumerate(document.passages)
        ]
        if found:
            await self._insert_passages(found)

    async def _insert_passages(self, rows: Sequence[dict[str, Any]]) -> None:
        if self._connection.dialect.name == "sqlite":
            await self._connection.execute(sa.insert(passages), rows)
        else:  # one statement: the driver takes a message for each row
            await self._connection.execute(_POSTGRESQL_PASSAGES, {"rows": json.dumps(rows, ensure_ascii=False)})

    def _document_values(self, document: AnalyzedDocument, version: int, first: int, now: datetime) -> dict[str, Any]:
        draft = document.draft
        return {
            "tenant": self._tenant,
            "document_id": draft.document_id,
            "version": version,
            "title": draft.title,
            "uri": draft.uri,
            "attributes": dict(draft.attributes),
            "format": draft.format.value,
            "language": draft.language,
            "readers": list(draft.readers),
            "digest": document.digest,
            "first_number": first,
            "passage_count": len(document.passages),
            "update_time": now,
            "end_time": None,
            "text": draft.text,
        }

    async def _update_corpus(
        self, corpus: sa.Row[Any], prepared: Sequence[AnalyzedDocument], next_number: int, ended: int
    ) -> None:
        languages = dict(corpus.languages)
        for document in prepared:
            languages[document.draft.language] = languages.get(document.draft.language, 0) + 1
        indexed = [passage for document in prepared for passage in document.passages]
        await self._connection.execute(
            sa.update(corpora)
            .where(corpora.c.corpus == corpus.corpus)
            .values(
                next_number=next_number,
                passages=corpus.passages + len(indexed),
                length=corpus.length + sum(passage.length for passage in indexed),
                languages=languages,
                dead=corpus.dead + ended,
                restricted=corpus.restricted + sum(bool(document.draft.readers) for document in prepared),
            )
        )
        self._corpus = None

    async def _delete_versions(self, corpus: sa.Row[Any], rows: Sequence[sa.Row[Any]]) -> None:
        """Delete versions of documents with their passages."""
        base = corpus.corpus * NUMBERS_OF_CORPUS
        if not rows:
            return
        firsts = [base + row.first_number for row in rows]
        ends = [first + row.passage_count for first, row in zip(firsts, rows, strict=True)]
        ranges = [{"first": first, "end": end} for first, end in zip(firsts, ends, strict=True)]
        for table in (passages, vectors):
            within = sa.and_(table.c.id >= sa.bindparam("first"), table.c.id < sa.bindparam("end"))
            await self._connection.execute(sa.delete(table).where(within), ranges)
        key = sa.delete(documents).where(documents.c.id == sa.bindparam("key"))
        await self._connection.execute(key, [{"key": row.id} for row in rows])
        gone = _numbers(rows)
        await SqlPostings(self._connection, corpus.corpus).append(gone_rows(gone))
        counted = sa.update(corpora).where(corpora.c.corpus == corpus.corpus)
        await self._connection.execute(counted.values(gone=corpora.c.gone + len(gone)))


_PASSAGES = sa.select(passages, *(column.label(f"document_{column.name}") for column in _COLUMNS)).join(
    documents, documents.c.id == passages.c.document
)


_POSTGRESQL_PASSAGES = sa.text("""
    INSERT INTO passages (id, document, ordinal, start, headings, text)
    SELECT id, document, ordinal, start, headings, text FROM json_to_recordset(CAST(:rows AS json))
    AS rows (id bigint, document bigint, ordinal integer, start integer, headings json, text text)
""")


def _numbers(rows: Iterable[sa.Row[Any]]) -> list[int]:
    """Return the numbers of the passages of documents."""
    return [row.first_number + ordinal for row in rows for ordinal in range(row.passage_count)]


def _blocks(corpus: sa.Row[Any]) -> Sequence[int]:
    blocks = range(-(-corpus.next_number // BLOCK_PASSAGES))
    if not corpus.empty_blocks:
        return blocks
    empty = frozenset(corpus.empty_blocks)
    return [block for block in blocks if block not in empty]


def _by_count(languages: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(languages, key=lambda language: -languages[language]))


def _document(row: sa.Row[Any], text: str = "", prefix: str = "") -> Document:
    values = {column.name: getattr(row, f"{prefix}{column.name}") for column in _COLUMNS}
    values |= {"format": Format(values["format"]), "readers": tuple(values["readers"]), "text": text}
    return Document(**values)


def _stored_passage(row: sa.Row[Any]) -> StoredPassage:
    passage = Passage(tuple(row.headings), row.text, row.start)
    return StoredPassage(_document(row, prefix="document_"), row.ordinal, passage)
