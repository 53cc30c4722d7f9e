"""RetrievalService: decode, use case, encode."""

import asyncio
from typing import Any

from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.pages import decode_position, page_of, page_size
from graphmesh_chassis.store import Store

from graphmesh_retrieval import convert, ingestion
from graphmesh_retrieval.documents import Documents
from graphmesh_retrieval.searching import search

DEFAULT_LIMIT = 5


class RetrievalServicer(pb.RetrievalServiceServicer):
    def __init__(self, store: Store[Documents]) -> None:
        self._store = store

    async def IngestDocuments(self, request: pb.IngestDocumentsRequest, context: Any) -> pb.IngestDocumentsResponse:
        documents = await asyncio.to_thread(ingestion.analyze, convert.drafts(request))
        async with self._store.effect() as effect:
            return effect.respond(convert.ingest_response(await ingestion.store_changed(effect.port, documents)))

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        limit = request.limit or DEFAULT_LIMIT
        async with self._store.read() as documents:
            hits = await search(documents, request.query, limit=limit, min_score=request.min_score)
        return pb.SearchResponse(passages=[convert.passage_message(hit) for hit in hits])

    async def GetDocument(self, request: pb.GetDocumentRequest, context: Any) -> pb.GetDocumentResponse:
        async with self._store.read() as documents:
            return convert.document_response(await documents.get(request.document_id))

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Any) -> pb.ListDocumentsResponse:
        size = page_size(request.page_size)
        _, after = decode_position(request.page_token, str, str) or ("", "")
        async with self._store.read() as documents:
            found = await documents.page(after, size + 1)
        page = page_of(found, size, convert.document_message, lambda document: ("document", document.document_id))
        return pb.ListDocumentsResponse(documents=page.messages, next_page_token=page.next_token)

    async def DeleteDocuments(self, request: pb.DeleteDocumentsRequest, context: Any) -> pb.DeleteDocumentsResponse:
        async with self._store.effect() as effect:
            deleted = await effect.port.delete(request.document_ids)
            return effect.respond(pb.DeleteDocumentsResponse(deleted_count=deleted))
