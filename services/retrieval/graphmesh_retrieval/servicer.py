"""RetrievalService: decode, use case, encode."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.errors import NotFound
from graphmesh_chassis.pages import decode_position, page_of, page_size
from graphmesh_chassis.store import Store

from graphmesh_retrieval import convert, ingestion
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.domain import AnalyzedDocument, Document, Draft, Reader, Unreadable
from graphmesh_retrieval.embedders import Embedder
from graphmesh_retrieval.file_reading import FileReader
from graphmesh_retrieval.ingestion import Retention
from graphmesh_retrieval.searching import Query, Searcher

DEFAULT_LIMIT = 5
DEFAULT_CONTEXT_CHARACTERS = 500


class RetrievalServicer(pb.RetrievalServiceServicer):
    def __init__(
        self,
        store: Store[Documents],
        files: FileReader,
        retention: Retention,
        embedder: Embedder | None,
        on_deleted: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_deleted` is called when passages may have been deleted."""
        self._store = store
        self._files = files
        self._retention = retention
        self._embedder = embedder
        self._on_deleted = on_deleted
        self._searcher = Searcher(embedder)

    @property
    def _embedder_name(self) -> str:
        return self._embedder.name if self._embedder else ""

    async def IngestDocuments(self, request: pb.IngestDocumentsRequest, context: Any) -> pb.IngestDocumentsResponse:
        drafts, digests = await asyncio.to_thread(convert.drafts, request, self._embedder_name)
        async with self._store.read() as documents:
            stored = await documents.digests(list(drafts))
        changed = [draft for key, draft in drafts.items() if stored.get(key) != digests[key]]
        analyzed = await _analyze(await self._files.read(changed), digests)
        if self._embedder:
            analyzed = await ingestion.add_vectors(self._embedder, analyzed)
        async with self._store.effect() as effect:
            unchanged = len(drafts) - len(changed)
            now = datetime.now(UTC)
            summary = await ingestion.store_changed(effect.port, analyzed, unchanged, now, self._retention)
            response = effect.respond(convert.ingest_response(request, summary))
        if summary.replaced:
            self._on_deleted()
        return response

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        query = Query(
            request.query,
            _reader(),
            request.limit or DEFAULT_LIMIT,
            request.min_score,
            convert.time_of(request.as_of_time),
        )
        async with self._store.read() as documents:
            hits = await self._searcher.search(current_call().caller.tenant, documents, query)
        return pb.SearchResponse(passages=map(convert.hit_message, hits))

    async def GetDocument(self, request: pb.GetDocumentRequest, context: Any) -> pb.GetDocumentResponse:
        as_of = convert.time_of(request.as_of_time)
        async with self._store.read() as documents:
            document = await _readable(documents, request.document_id, request.version, as_of)
        return convert.document_response(document)

    async def GetPassage(self, request: pb.GetPassageRequest, context: Any) -> pb.GetPassageResponse:
        document_id, _, ordinal = request.passage_id.rpartition("#")
        async with self._store.read() as documents:
            document = await _readable(documents, document_id, request.version)
            found = await documents.passage(document_id, document.version, int(ordinal))
        return convert.passage_response(found, document, request.context_characters or DEFAULT_CONTEXT_CHARACTERS)

    async def ListDocumentVersions(
        self, request: pb.ListDocumentVersionsRequest, context: Any
    ) -> pb.ListDocumentVersionsResponse:
        size = page_size(request.page_size)
        _, before = decode_position(request.page_token, str, int) or ("", 0)
        async with self._store.read() as documents:
            await _readable(documents, request.document_id)
            found = await documents.versions(request.document_id, before, size + 1)
        page = page_of(found, size, convert.document_message, lambda document: ("version", document.version))
        return pb.ListDocumentVersionsResponse(documents=page.messages, next_page_token=page.next_token)

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Any) -> pb.ListDocumentsResponse:
        size = page_size(request.page_size)
        _, after = decode_position(request.page_token, str, str) or ("", "")
        reader = _reader()
        async with self._store.read() as documents:
            found = await documents.page(after, size + 1)
        page = page_of(found, size, convert.document_message, lambda document: ("document", document.document_id))
        messages = [message for message in page.messages if reader.may_read(message.readers)]
        return pb.ListDocumentsResponse(documents=messages, next_page_token=page.next_token)

    async def DeleteDocuments(self, request: pb.DeleteDocumentsRequest, context: Any) -> pb.DeleteDocumentsResponse:
        async with self._store.effect() as effect:
            deleted = await effect.port.delete(request.document_ids)
            response = effect.respond(pb.DeleteDocumentsResponse(deleted_count=deleted))
        self._on_deleted()
        return response


async def _analyze(
    drafts: Mapping[str, Draft | Unreadable], digests: Mapping[str, str]
) -> Mapping[str, AnalyzedDocument | Unreadable]:
    """Analyze documents in a thread, which ends soon after the call."""
    cancelled = threading.Event()
    try:
        return await asyncio.to_thread(ingestion.analyze, drafts, digests, cancelled.is_set)
    finally:
        cancelled.set()


def _reader() -> Reader:
    return convert.reader(current_call().caller)


async def _readable(documents: Documents, document_id: str, version: int = 0, as_of: Any = None) -> Document:
    """Return a version of a document that the caller may read. Raises NotFound."""
    document = await documents.get(document_id, version, as_of)
    if not _reader().may_read(document.readers):
        raise NotFound(resource="document", id=document_id)
    return document
