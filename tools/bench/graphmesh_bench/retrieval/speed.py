"""Measures the time of ingestion and search over a number of passages, beside the database's own full-text search."""

import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_local.backends import postgres

from graphmesh_bench.retrieval.plain_full_text import Fts5, PlainFullText, Tsvector
from graphmesh_bench.retrieval.service import batches, holds, ingest, search, served
from graphmesh_bench.retrieval.synthetic_corpus import Query, SyntheticCorpus

WARM_UP_QUERIES = 20
"""Queries before the measurement: they open connections and fill caches."""
LIMIT = 5
"""Passages that a search returns."""


@dataclass
class Times:
    """The times of queries, and how many of them found the document of the query."""

    milliseconds: list[float] = field(default_factory=list)
    found: int = 0
    failed: int = 0
    cpu_milliseconds: float = 0.0
    """CPU time of this process for each query: client and service, and SQLite, but not the server of PostgreSQL."""

    @property
    def p50(self) -> float:
        return statistics.median(self.milliseconds) if self.milliseconds else float("nan")

    @property
    def p99(self) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))] if ordered else float("nan")


@dataclass(frozen=True)
class SpeedResult:
    """What was measured over one database."""

    database: str
    """The kind: `sqlite` or `postgresql`."""
    ingested_per_second: float
    """0 where all passages were stored already."""
    search: Times
    plain_ingested_per_second: float = 0.0
    plain: Times | None = None
    """None where the database was given, in which there is no plain search."""


async def measure_speed(database: str, passages: int, queries: int, on_stage: Callable[[str], None]) -> SpeedResult:
    """Ingest a synthetic corpus over gRPC, and search it, one query after the other.

    `database` is the URL of one that is kept, or `sqlite` or `postgresql` for a new one.
    """
    corpus = SyntheticCorpus(passages)
    asked = list(corpus.queries(queries + WARM_UP_QUERIES))
    if "://" in database:
        async with served(database) as channel:
            rate = 0.0
            if not await holds(channel, corpus.last_document_id):
                rate = await _timed_ingestion(channel, corpus, on_stage)
            on_stage("queries")
            times = await _timed_queries(asked, lambda query: search(channel, query.text, LIMIT))
            return SpeedResult(database.partition("+")[0], rate, times)
    async with _open(database) as (channel, plain):
        rate = await _timed_ingestion(channel, corpus, on_stage)
        on_stage(f"{database}: queries")
        times = await _timed_queries(asked, lambda query: search(channel, query.text, LIMIT))
        plain_rate = await _timed_plain_ingestion(plain, corpus, on_stage)
        on_stage(f"{database}: queries of its own full-text search")
        plain_times = await _timed_queries(asked, lambda query: plain.search(query.text, LIMIT))
        return SpeedResult(database, rate, times, plain_rate, plain_times)


@asynccontextmanager
async def _open(database: str) -> AsyncIterator[tuple[Channel, PlainFullText]]:
    """Serve retrieval over a new database, beside a plain one."""
    with tempfile.TemporaryDirectory(prefix="graphmesh-retrieval-") as folder:
        if database == "sqlite":
            plain = Fts5(Path(folder) / "plain.db")
            async with served(f"sqlite+aiosqlite:///{folder}/retrieval.db") as channel:
                yield channel, plain
            await plain.close()
            return
        async with postgres() as server, server.database() as url, server.database() as plain_url:
            tsvector = await Tsvector.create(plain_url.replace("postgresql+psycopg", "postgresql"))
            async with served(url) as channel:
                yield channel, tsvector
            await tsvector.close()


async def _timed_ingestion(channel: Channel, corpus: SyntheticCorpus, on_stage: Callable[[str], None]) -> float:
    """Ingest all documents, and return the passages a second."""
    begin, done = time.perf_counter(), 0

    def on_batch(passages: int) -> None:
        nonlocal done
        done += passages
        on_stage(f"{done:,} passages ingested, {done / (time.perf_counter() - begin):,.0f} a second")

    await ingest(channel, corpus.documents(), on_batch)
    return done / (time.perf_counter() - begin)


async def _timed_plain_ingestion(
    plain: PlainFullText, corpus: SyntheticCorpus, on_stage: Callable[[str], None]
) -> float:
    seconds, done = 0.0, 0
    for batch in batches(corpus.documents()):
        passages = list(_plain_passages(batch))
        begin = time.perf_counter()
        await plain.add(passages)
        seconds += time.perf_counter() - begin
        done += len(passages)
        on_stage(f"{done:,} passages in the database's own full-text search")
    return done / seconds


def _plain_passages(documents: Sequence[pb.DocumentInput]) -> Iterator[tuple[str, str, str]]:
    for document in documents:
        for section in document.text.split("## ")[1:]:
            yield document.document_id, document.title, section


async def _timed_queries(queries: Sequence[Query], ask: Callable[[Query], Any]) -> Times:
    times = Times()
    cpu = time.process_time()
    for number, query in enumerate(queries):
        begin = time.perf_counter()
        try:
            found = await ask(query)
        except GraphmeshError:
            times.failed += 1
            continue
        if number >= WARM_UP_QUERIES:
            times.milliseconds.append((time.perf_counter() - begin) * 1000)
            times.found += query.document_id in found
    times.cpu_milliseconds = (time.process_time() - cpu) * 1000 / len(queries)
    return times
