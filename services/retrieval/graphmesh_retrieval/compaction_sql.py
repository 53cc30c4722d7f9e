"""Removes the postings of passages that are no longer stored, in the background.

A block of the index is compacted where a quarter of its passages are gone. That takes many short transactions, each
over a part of the block's terms and with a pause after it: the lock of the corpus, and the one writer of SQLite, are
held for milliseconds. A compaction that was interrupted begins again; two at the same time do the same work twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
import structlog
from graphmesh_chassis.database import Database
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.tenant_turns import CURRENT_TENANT
from sqlalchemy.ext.asyncio import AsyncConnection

from graphmesh_retrieval.documents_tables import corpora, postings
from graphmesh_retrieval.postings import BLOCK_PASSAGES, DEAD, GONE, without

MIN_GONE: Final = BLOCK_PASSAGES // 4
"""Passages of a block that are gone, from which on it is compacted."""
STEP_TERMS: Final = 1000
"""Terms of a transaction: they take about 10 ms."""
PAUSE_SECONDS: Final = 0.05
"""Time between two transactions."""
INTERVAL_SECONDS: Final = 1.0
"""Time until deletions are considered again."""
RETRY_SECONDS: Final = 10.0
"""Time after a failure of the database."""
_LAST_MARKS: Final = (DEAD, GONE)
"""The marks that hide the passages until no other posting of them is left."""

log = structlog.get_logger("graphmesh.retrieval")


class Compactor:
    """Compacts the blocks of all tenants, one after the other."""

    def __init__(
        self,
        database: Database,
        min_gone: int | None = None,
        pause: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """By default `min_gone` is `MIN_GONE`, and `pause`, awaited between transactions, sleeps `PAUSE_SECONDS`."""
        self._database = database
        self._min_gone = min_gone or MIN_GONE
        self._pause = pause or partial(asyncio.sleep, PAUSE_SECONDS)
        self._due = asyncio.Event()
        self._due.set()

    def wake(self) -> None:
        """Have deletions of before considered."""
        self._due.set()

    async def run(self) -> None:
        """Compact until it is cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.compact_all()
                await asyncio.sleep(INTERVAL_SECONDS)
            except GraphmeshError as failure:
                log.warning("compaction failed", error=str(failure))
                self._due.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def compact_all(self) -> int:
        """Compact all blocks that are worth it, a block of each tenant in turn, and return their number."""
        compacted = 0
        while turn := await self._compact_turn():
            compacted += turn
        return compacted

    async def _compact_turn(self) -> int:
        """Compact one block of each tenant that has one to compact, and return their number."""
        compacted = 0
        columns = (corpora.c.corpus, corpora.c.tenant, corpora.c.next_number)
        for corpus in await self._database.rows(sa.select(*columns).where(corpora.c.gone >= self._min_gone)):
            CURRENT_TENANT.set(corpus.tenant)
            if due := await self._due_block(corpus):
                await self._compact(corpus.corpus, due.block, due.entries)
                compacted += 1
        return compacted

    async def _due_block(self, corpus: sa.Row[Any]) -> sa.Row[Any] | None:
        """Return a block to compact, with the entries of its gone passages; None: there is none."""
        blocks = range(-(-corpus.next_number // BLOCK_PASSAGES))
        within = sa.and_(postings.c.corpus == corpus.corpus, postings.c.block.in_(blocks), postings.c.term == GONE)
        query = sa.select(postings.c.block, postings.c.entries).where(within, postings.c.size >= self._min_gone)
        return next(iter(await self._database.rows(query.limit(1))), None)

    async def _compact(self, corpus: int, block: int, gone: bytes) -> None:
        after: int | None = None
        while True:
            async with self._database.transaction() as connection:
                await connection.execute(_locked(corpus))
                rows = (await connection.execute(_terms(corpus, block, after))).all()
                words = [(row.term, row.entries) for row in rows if row.term not in _LAST_MARKS]
                await _write(connection, corpus, block, without(words, gone) if words else {})
                if len(rows) < STEP_TERMS:
                    await _finish(connection, corpus, block, gone)
                    return
            after = rows[-1].term
            await self._pause()


def _locked(corpus: int) -> sa.Select[Any]:
    return sa.select(corpora).where(corpora.c.corpus == corpus).with_for_update()


def _terms(corpus: int, block: int, after: int | None) -> sa.Select[Any]:
    """Select the next terms of a block with their entries."""
    query = sa.select(postings.c.term, postings.c.entries).where(postings.c.corpus == corpus, postings.c.block == block)
    if after is not None:
        query = query.where(postings.c.term > after)
    return query.order_by(postings.c.term).limit(STEP_TERMS)


async def _write(connection: AsyncConnection, corpus: int, block: int, changed: Mapping[int, bytes]) -> None:
    """Store changed entries of a block by term; a term whose entries are empty is deleted."""
    key = sa.and_(
        postings.c.corpus == corpus, postings.c.block == block, postings.c.term == sa.bindparam("changed_term")
    )
    if emptied := [{"changed_term": term} for term, entries in changed.items() if not entries]:
        await connection.execute(sa.delete(postings).where(key), emptied)
    if rest := [
        {"changed_term": term, "size": len(entries) // 4, "entries": entries}
        for term, entries in changed.items()
        if entries
    ]:
        await connection.execute(sa.update(postings).where(key), rest)


async def _finish(connection: AsyncConnection, corpus: int, block: int, gone: bytes) -> None:
    """Remove the last marks, and count the passages out, unless another compaction has."""
    query = sa.select(postings.c.term, postings.c.entries).where(
        postings.c.corpus == corpus, postings.c.block == block, postings.c.term.in_(_LAST_MARKS)
    )
    marks = {row.term: row.entries for row in await connection.execute(query)}
    changed = without(list(marks.items()), gone) if marks else {}
    if GONE not in changed:
        return
    await _write(connection, corpus, block, changed)
    row = (await connection.execute(_locked(corpus))).one()
    removed = (len(marks[GONE]) - len(changed[GONE])) // 4
    is_full = (block + 1) * BLOCK_PASSAGES <= row.next_number
    is_empty = is_full and not (await connection.execute(_terms(corpus, block, None).limit(1))).all()
    await connection.execute(
        sa.update(corpora)
        .where(corpora.c.corpus == corpus)
        .values(
            dead=row.dead - (len(marks.get(DEAD, b"")) - len(changed.get(DEAD, marks.get(DEAD, b"")))) // 4,
            gone=row.gone - removed,
            passages=row.passages - removed,
            length=row.length - round(row.length * removed / row.passages),
            compactions=row.compactions + 1,
            empty_blocks=[*row.empty_blocks, block] if is_empty else row.empty_blocks,
        )
    )
