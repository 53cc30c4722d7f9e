"""Documents in a database: SQLite with FTS5, PostgreSQL with its full text search.

Both index the terms of `analysis` unchanged. The database matches, counts, and preselects candidates if there are too
many; `domain` ranks them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from graphmesh_chassis.database import UtcDateTime, dialect_insert
from graphmesh_chassis.errors import NotFound
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_retrieval.domain import (
    AnalyzedDocument,
    Candidate,
    CorpusStatistics,
    Document,
    IndexedPassage,
    Source,
)

_metadata = sa.MetaData()
documents = sa.Table(
    "documents",
    _metadata,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("document_id", sa.String, primary_key=True),
    sa.Column("title", sa.String),
    sa.Column("uri", sa.String),
    sa.Column("text", sa.String),
    sa.Column("attributes", sa.JSON),
    sa.Column("digest", sa.String),
    sa.Column("passage_count", sa.Integer),
    sa.Column("term_count", sa.Integer),
    sa.Column("update_time", UtcDateTime),
)
passages = sa.Table(
    "passages",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String),
    sa.Column("document_id", sa.String),
    sa.Column("ordinal", sa.Integer),
    sa.Column("headings", sa.JSON),
    sa.Column("text", sa.String),
    sa.Column("terms", sa.String),
)
_DOCUMENT_COLUMNS = [column for column in documents.c if column.name not in ("tenant", "text", "digest", "term_count")]


class SqlDocuments:
    """Documents of one tenant, over one connection."""

    def __init__(self, connection: AsyncConnection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self._index: FullTextIndex = SqliteIndex() if connection.dialect.name == "sqlite" else PostgresIndex()

    async def digests(self, document_ids: Sequence[str]) -> dict[str, str]:
        query = sa.select(documents.c.document_id, documents.c.digest).where(self._among(documents, document_ids))
        return {row.document_id: row.digest for row in await self._connection.execute(query)}

    async def put(self, prepared: Sequence[AnalyzedDocument], now: datetime) -> None:
        """Write in the order of ids, so that two calls cannot deadlock."""
        ordered = sorted(prepared, key=lambda document: document.draft.document_id)
        for document in ordered:
            await self._put_document(document, now)
        await self._delete_passages([document.draft.document_id for document in ordered])
        rows = [row for document in ordered for row in self._passage_rows(document)]
        if rows:
            await self._connection.execute(sa.insert(passages), rows)

    async def get(self, document_id: str) -> Document:
        query = sa.select(*_DOCUMENT_COLUMNS, documents.c.text).where(self._among(documents, [document_id]))
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(resource="document", id=document_id)
        return Document(**row._mapping)

    async def page(self, after: str, size: int) -> list[Document]:
        query = (
            sa.select(*_DOCUMENT_COLUMNS)
            .where(documents.c.tenant == self._tenant, documents.c.document_id > after)
            .order_by(documents.c.document_id)
            .limit(size)
        )
        return [Document(**row._mapping, text="") for row in await self._connection.execute(query)]

    async def delete(self, document_ids: Sequence[str]) -> int:
        await self._delete_passages(document_ids)
        deleted = await self._connection.execute(sa.delete(documents).where(self._among(documents, document_ids)))
        return deleted.rowcount

    async def corpus(self, terms: Sequence[str]) -> CorpusStatistics:
        sums = sa.select(
            sa.func.coalesce(sa.func.sum(documents.c.passage_count), 0).label("passages"),
            sa.func.coalesce(sa.func.sum(documents.c.term_count), 0).label("terms"),
        ).where(documents.c.tenant == self._tenant)
        counts = sa.select(*(self._count(term).label(f"having_{at}") for at, term in enumerate(terms)))
        total = (await self._connection.execute(sums)).one()
        matching = (await self._connection.execute(counts)).one()
        return CorpusStatistics(int(total.passages), int(total.terms), dict(zip(terms, matching, strict=True)))

    async def candidates(self, terms: Sequence[str], corpus: CorpusStatistics, limit: int) -> list[Candidate]:
        query = (
            sa.select(passages, documents.c.title, documents.c.uri)
            .join(documents, sa.and_(*(documents.c[key] == passages.c[key] for key in ("tenant", "document_id"))))
            .where(passages.c.tenant == self._tenant)
            .limit(limit)
        )
        rows = await self._connection.execute(self._index.best(query, terms, corpus))
        return [_candidate(row) for row in rows]

    def _among(self, table: sa.Table, document_ids: Sequence[str]) -> sa.ColumnElement[bool]:
        return sa.and_(table.c.tenant == self._tenant, table.c.document_id.in_(document_ids))

    def _count(self, term: str) -> sa.ScalarSelect[int]:
        query = sa.select(sa.func.count()).select_from(passages).where(passages.c.tenant == self._tenant)
        return self._index.matching(query, [term]).scalar_subquery()

    async def _put_document(self, document: AnalyzedDocument, now: datetime) -> None:
        key = {"tenant": self._tenant, "document_id": document.draft.document_id}
        values = {
            **{name: value for name, value in vars(document.draft).items() if name != "document_id"},
            "attributes": dict(document.draft.attributes),
            "digest": document.digest,
            "passage_count": len(document.passages),
            "term_count": sum(len(passage.terms) for passage in document.passages),
            "update_time": now,
        }
        insert = dialect_insert(self._connection.dialect, documents).values(**key, **values)
        upsert = insert.on_conflict_do_update(index_elements=list(key), set_=values)
        await self._connection.execute(upsert)

    async def _delete_passages(self, document_ids: Sequence[str]) -> None:
        await self._connection.execute(sa.delete(passages).where(self._among(passages, document_ids)))

    def _passage_rows(self, document: AnalyzedDocument) -> list[dict[str, Any]]:
        return [
            {
                "tenant": self._tenant,
                "document_id": document.draft.document_id,
                "ordinal": ordinal,
                "headings": list(passage.headings),
                "text": passage.text,
                "terms": " ".join(passage.terms),
            }
            for ordinal, passage in enumerate(document.passages)
        ]


class FullTextIndex(Protocol):
    """A database's index of passages by their terms."""

    def matching(self, query: sa.Select[Any], terms: Sequence[str]) -> sa.Select[Any]:
        """Restrict a query to passages with at least one of the terms."""
        ...

    def best(self, query: sa.Select[Any], terms: Sequence[str], corpus: CorpusStatistics) -> sa.Select[Any]:
        """As `matching`, the most relevant passages first."""
        ...


class SqliteIndex:
    """FTS5. Its BM25 counts the passages of all tenants, which is accurate enough to preselect candidates."""

    _index = sa.table("passage_index", sa.column("passage_index"), sa.column("rowid"), sa.column("rank"))

    def matching(self, query: sa.Select[Any], terms: Sequence[str]) -> sa.Select[Any]:
        match = self._index.c.passage_index.op("MATCH")(" OR ".join(f'"{term}"' for term in terms))
        return query.join(self._index, self._index.c.rowid == passages.c.id).where(match)

    def best(self, query: sa.Select[Any], terms: Sequence[str], corpus: CorpusStatistics) -> sa.Select[Any]:
        return self.matching(query, terms).order_by(self._index.c.rank)


class PostgresIndex:
    """A GIN index over the terms as lexemes; no parser or dictionary of the server changes them."""

    _lexemes = sa.column("lexemes", postgresql.TSVECTOR)

    def matching(self, query: sa.Select[Any], terms: Sequence[str]) -> sa.Select[Any]:
        return query.where(self._matches(terms))

    def best(self, query: sa.Select[Any], terms: Sequence[str], corpus: CorpusStatistics) -> sa.Select[Any]:
        shares = [sa.case((self._matches([term]), corpus.idf(term)), else_=0.0) for term in terms]
        return self.matching(query, terms).order_by(sum(shares[1:], start=shares[0]).desc())

    def _matches(self, terms: Sequence[str]) -> sa.ColumnElement[bool]:
        return self._lexemes.op("@@", is_comparison=True)(sa.cast(" | ".join(terms), postgresql.TSQUERY))


def _candidate(row: sa.Row[Any]) -> Candidate:
    source = Source(row.document_id, row.title, row.uri)
    passage = IndexedPassage(tuple(row.headings), row.text, tuple(row.terms.split()))
    return Candidate(source, row.ordinal, passage)
