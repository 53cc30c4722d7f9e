"""Converts between retrieval's protobuf messages and its domain."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.identity import Caller
from graphmesh_chassis.timestamps import to_timestamp

from graphmesh_retrieval.domain import Document, Draft, Format, Hit, Reader, StoredPassage
from graphmesh_retrieval.ingestion import IngestSummary


def drafts(request: pb.IngestDocumentsRequest, embedder: str) -> tuple[dict[str, Draft], dict[str, str]]:
    """Return the documents and their digests, by id; of several with one id, the last."""
    found = {document.document_id: _draft(document) for document in request.documents}
    return found, {document_id: draft.digest(embedder) for document_id, draft in found.items()}


def _draft(document: pb.DocumentInput) -> Draft:
    return Draft(
        document.document_id,
        document.title,
        document.uri,
        document.text,
        dict(document.attributes),
        Format(document.format or pb.DocumentFormat.DOCUMENT_FORMAT_MARKDOWN),
        document.language,
        tuple(document.readers),
        document.content,
    )


def reader(caller: Caller) -> Reader:
    return Reader(caller.subject, caller.scopes)


def time_of(timestamp: Timestamp) -> datetime | None:
    """Return the time; None where none is set."""
    return timestamp.ToDatetime(tzinfo=UTC) if timestamp.ByteSize() else None


def ingest_response(request: pb.IngestDocumentsRequest, summary: IngestSummary) -> pb.IngestDocumentsResponse:
    last = {document.document_id: index for index, document in enumerate(request.documents)}
    return pb.IngestDocumentsResponse(
        added_count=summary.added,
        replaced_count=summary.replaced,
        unchanged_count=summary.unchanged,
        passage_count=summary.passages,
        failures=[
            pb.IngestFailure(index=last[document_id], document_id=document_id, description=description)
            for document_id, description in summary.failures.items()
        ],
    )


def hit_message(hit: Hit) -> pb.Passage:
    return passage_message(hit.found, hit.score)


def passage_message(found: StoredPassage, score: float = 0.0) -> pb.Passage:
    return pb.Passage(
        passage_id=found.passage_id,
        document_id=found.document.document_id,
        title=found.document.title,
        uri=found.document.uri,
        heading_path=found.passage.headings,
        text=found.passage.text,
        score=score,
        trust=pb.Trust.TRUST_UNTRUSTED,
        version=found.document.version,
        start=found.passage.start,
        end=found.passage.end,
    )


def document_message(document: Document) -> pb.Document:
    return pb.Document(
        document_id=document.document_id,
        title=document.title,
        uri=document.uri,
        attributes=document.attributes,
        passage_count=document.passage_count,
        update_time=to_timestamp(document.update_time),
        version=document.version,
        end_time=to_timestamp(document.end_time) if document.end_time else None,
        language=document.language,
        format=pb.DocumentFormat.ValueType(document.format.value),
        readers=document.readers,
        content_hash=document.digest,
    )


def document_response(document: Document) -> pb.GetDocumentResponse:
    return pb.GetDocumentResponse(
        document=document_message(document), text=document.text, trust=pb.Trust.TRUST_UNTRUSTED
    )


def passage_response(found: StoredPassage, document: Document, characters: int) -> pb.GetPassageResponse:
    passage = found.passage
    return pb.GetPassageResponse(
        passage=passage_message(found),
        before=document.text[max(0, passage.start - characters) : passage.start],
        after=document.text[passage.end : passage.end + characters],
        document=document_message(document),
        trust=pb.Trust.TRUST_UNTRUSTED,
    )
