"""Retrieval as the benchmarks use it: served in this process, and called over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final
from uuid import uuid4

from graphmesh.retrieval import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.serve import serving
from graphmesh_chassis.settings import SecretUrl
from graphmesh_retrieval.__main__ import build
from graphmesh_retrieval.settings import Settings

BATCH_DOCUMENTS: Final = 100
CONCURRENT_BATCHES: Final = 2


@asynccontextmanager
async def served(url: str, embedder: str = "") -> AsyncIterator[Channel]:
    """Serve retrieval over the database at `url`, and yield a channel to it."""
    settings = Settings(database_url=SecretUrl(url), embedder=embedder)
    async with (
        build(settings) as servable,
        serving("retrieval", servable, settings) as server,
        Channel(server.address) as channel,
    ):
        yield channel


async def ingest(
    channel: Channel, documents: Iterator[pb.DocumentInput], on_batch: Callable[[int], None] = lambda passages: None
) -> None:
    """Store documents; `on_batch` gets the number of passages of each batch."""
    numbered = enumerate(batches(documents))
    ingestion = uuid4()

    async def send() -> None:
        for number, batch in numbered:
            request = pb.IngestDocumentsRequest(documents=batch)
            headers = [(metadata.IDEMPOTENCY_KEY, f"{ingestion}-{number}")]
            rpc = pb.RetrievalService.IngestDocuments
            response = await channel.unary(rpc, request, deadline=Deadline.after(60), headers=headers)
            on_batch(response.passage_count)

    await asyncio.gather(*(send() for _ in range(CONCURRENT_BATCHES)))


async def holds(channel: Channel, document_id: str) -> bool:
    """Whether a document is stored."""
    request = pb.GetDocumentRequest(document_id=document_id)
    try:
        await channel.unary(pb.RetrievalService.GetDocument, request, deadline=Deadline.after(10))
    except NotFound:
        return False
    return True


def batches(documents: Iterator[pb.DocumentInput]) -> Iterator[list[pb.DocumentInput]]:
    while batch := list(islice(documents, BATCH_DOCUMENTS)):
        yield batch


async def search(channel: Channel, query: str, limit: int) -> list[str]:
    """Return the ids of the documents of the best passages."""
    request = pb.SearchRequest(query=query, limit=limit)
    response = await channel.unary(pb.RetrievalService.Search, request, deadline=Deadline.after(10))
    return [passage.document_id for passage in response.passages]
