"""The full-text search that the databases have themselves, for comparison: FTS5, and `tsvector` with GIN."""

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import psycopg

WORD = re.compile(r"\w+")
TIMEOUT = 20.0
"""Seconds for a query of the comparison."""


class PlainFullText(Protocol):
    """Passages with ids in one table, and queries that match any of their words."""

    async def add(self, passages: Sequence[tuple[str, str, str]]) -> None:
        """Add passages: id, title, text."""
        ...

    async def search(self, query: str, limit: int) -> list[str]:
        """Return the ids of the best passages; none where the query takes too long."""
        ...

    async def close(self) -> None: ...


class Fts5:
    """SQLite's FTS5 with its own tokenizer and its own BM25."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("CREATE VIRTUAL TABLE plain USING fts5(id UNINDEXED, title, text)")

    async def add(self, passages: Sequence[tuple[str, str, str]]) -> None:
        await asyncio.to_thread(self._add, passages)

    async def search(self, query: str, limit: int) -> list[str]:
        return await asyncio.to_thread(self._search, query, limit)

    async def close(self) -> None:
        self._connection.close()

    def _add(self, passages: Sequence[tuple[str, str, str]]) -> None:
        with self._connection:
            self._connection.executemany("INSERT INTO plain VALUES (?, ?, ?)", passages)

    def _search(self, query: str, limit: int) -> list[str]:
        match = " OR ".join(f'"{word}"' for word in WORD.findall(query))
        if not match:
            return []
        statement = "SELECT id FROM plain WHERE plain MATCH ? ORDER BY rank LIMIT ?"
        return [row[0] for row in self._connection.execute(statement, (match, limit))]


class Tsvector:
    """PostgreSQL's full-text search with the configuration `simple`, a GIN index, and `ts_rank`."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[str]]) -> None:
        self._connection = connection

    @classmethod
    async def create(cls, url: str) -> "Tsvector":
        connection: psycopg.AsyncConnection[tuple[str]] = await psycopg.AsyncConnection.connect(url, autocommit=True)
        await connection.execute(f"SET statement_timeout = {int(TIMEOUT * 1000)}")
        await connection.execute("""
            CREATE TABLE plain (id text, title text, text text, words tsvector
            GENERATED ALWAYS AS (to_tsvector('simple', title || ' ' || text)) STORED)
        """)
        await connection.execute("CREATE INDEX ON plain USING gin (words)")
        return cls(connection)

    async def add(self, passages: Sequence[tuple[str, str, str]]) -> None:
        async with self._connection.cursor() as cursor, cursor.copy("COPY plain (id, title, text) FROM STDIN") as copy:
            for passage in passages:
                await copy.write_row(passage)

    async def search(self, query: str, limit: int) -> list[str]:
        match = " | ".join(WORD.findall(query))
        statement = """
            SELECT id FROM plain, to_tsquery('simple', %s) AS wanted WHERE words @@ wanted
            ORDER BY ts_rank(words, wanted) DESC LIMIT %s
        """
        try:
            return [row[0] for row in await (await self._connection.execute(statement, (match, limit))).fetchall()]
        except psycopg.errors.QueryCanceled:
            return []

    async def close(self) -> None:
        await self._connection.close()
