"""The vectors of passages in a database."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_retrieval.documents_tables import NUMBERS_OF_CORPUS, vectors
from graphmesh_retrieval.domain import AnalyzedDocument


class SqlVectors:
    """The vectors of one corpus, over one connection."""

    def __init__(self, connection: AsyncConnection, corpus: int) -> None:
        self._connection = connection
        self._base = corpus * NUMBERS_OF_CORPUS

    async def add(self, prepared: Sequence[AnalyzedDocument], firsts: Sequence[int]) -> None:
        """Insert the vectors of documents, whose passages begin with the numbers `firsts`."""
        rows = [
            {"id": self._base + number, "embedder": document.embedder, "vector": vector}
            for document, first in zip(prepared, firsts, strict=False)
            for number, vector in enumerate(document.vectors, first)
        ]
        if rows:
            await self._connection.execute(sa.insert(vectors), rows)

    async def between(self, embedder: str, begin: int, end: int) -> list[tuple[int, bytes]]:
        within = sa.and_(vectors.c.id >= self._base + begin, vectors.c.id < self._base + end)
        return await self._select(sa.and_(within, vectors.c.embedder == embedder))

    async def of(self, embedder: str, numbers: Sequence[int]) -> dict[int, bytes]:
        among = vectors.c.id.in_([self._base + number for number in numbers])
        return dict(await self._select(sa.and_(among, vectors.c.embedder == embedder)))

    async def _select(self, condition: sa.ColumnElement[bool]) -> list[tuple[int, bytes]]:
        query = sa.select(vectors.c.id, vectors.c.vector).where(condition).order_by(vectors.c.id)
        return [(row.id - self._base, row.vector) for row in await self._connection.execute(query)]
