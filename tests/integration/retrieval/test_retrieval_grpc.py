"""Retrieval over a real channel, as a plain synchronous gRPC client calls it with a generated stub.

One server for all tests, so each test ingests its own documents.
"""

from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest
from graphmesh.retrieval import v1 as pb
from graphmesh.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub
from graphmesh_chassis.errors import IdempotencyKeyRequired, IdempotencyKeyReused, InvalidRequest, NotFound
from graphmesh_chassis.serve import Servable
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing.plain_client import TIMEOUT, fails_with, key
from graphmesh_retrieval.__main__ import build
from graphmesh_retrieval.settings import Settings


@pytest.fixture(scope="module")
def grpc_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('retrieval')}/retrieval.db"))


@pytest.fixture(scope="module")
def grpc_servable(grpc_settings: Settings) -> AbstractAsyncContextManager[Servable]:
    return build(grpc_settings)


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[RetrievalServiceStub]:
    return RetrievalServiceStub


def ingest_request(text: str, document_id: str = "") -> pb.IngestDocumentsRequest:
    document = pb.DocumentInput(document_id=document_id or uuid4().hex, title="Title", text=text)
    return pb.IngestDocumentsRequest(documents=[document])


def test_finds_an_ingested_document(grpc_stub: RetrievalServiceStub) -> None:
    request = ingest_request("# Walruses\n\nA walrus has tusks.", "walrus.md")
    ingested = grpc_stub.IngestDocuments(request, timeout=TIMEOUT, metadata=key())
    assert (ingested.added_count, ingested.passage_count) == (1, 1)
    found = grpc_stub.Search(pb.SearchRequest(query="Does a walrus have tusks?"), timeout=TIMEOUT)
    [passage] = found.passages
    assert (passage.passage_id, list(passage.heading_path), passage.score) == ("walrus.md#0", ["Walruses"], 1.0)


def test_repeated_key_returns_the_stored_response(grpc_stub: RetrievalServiceStub) -> None:
    """The repeat stores nothing, and a trailer reports that the response is a stored one."""
    request, once = ingest_request("Penguins swim."), key()
    first = grpc_stub.IngestDocuments(request, timeout=TIMEOUT, metadata=once)
    repeated, call = grpc_stub.IngestDocuments.with_call(request, timeout=TIMEOUT, metadata=once)
    assert repeated == first
    assert dict(call.trailing_metadata())["idempotency-replayed"] == "true"
    again = grpc_stub.IngestDocuments(request, timeout=TIMEOUT, metadata=key())
    assert (again.added_count, again.unchanged_count) == (0, 1)


def test_reused_key_is_refused(grpc_stub: RetrievalServiceStub) -> None:
    once = key()
    grpc_stub.IngestDocuments(ingest_request("One."), timeout=TIMEOUT, metadata=once)
    with fails_with(IdempotencyKeyReused):
        grpc_stub.IngestDocuments(ingest_request("Two."), timeout=TIMEOUT, metadata=once)


def test_refuses_an_effect_without_a_key(grpc_stub: RetrievalServiceStub) -> None:
    with fails_with(IdempotencyKeyRequired):
        grpc_stub.IngestDocuments(ingest_request("One."), timeout=TIMEOUT)


def test_lists_documents_in_pages(grpc_stub: RetrievalServiceStub) -> None:
    for number in range(3):
        request = ingest_request("Text.", f"page-{number}")
        grpc_stub.IngestDocuments(request, timeout=TIMEOUT, metadata=key())
    listed: list[str] = []
    pages = pb.ListDocumentsRequest(page_size=2)
    while True:
        page = grpc_stub.ListDocuments(pages, timeout=TIMEOUT)
        assert len(page.documents) <= 2
        listed += [document.document_id for document in page.documents]
        if not page.next_page_token:
            break
        pages.page_token = page.next_page_token
    assert listed == sorted(listed)
    assert {"page-0", "page-1", "page-2"} <= set(listed)


def test_reports_a_missing_document(grpc_stub: RetrievalServiceStub) -> None:
    with fails_with(NotFound) as error:
        grpc_stub.GetDocument(pb.GetDocumentRequest(document_id="missing.md"), timeout=TIMEOUT)
    assert error.metadata == {"resource": "document", "id": "missing.md"}


def test_names_the_field_that_violates_the_contract(grpc_stub: RetrievalServiceStub) -> None:
    with fails_with(InvalidRequest) as error:
        grpc_stub.Search(pb.SearchRequest(query="x", limit=51), timeout=TIMEOUT)
    assert error.fields == ["limit"]
