"""Converts between retrieval's protobuf messages and its domain."""

from graphmesh.retrieval import v1 as pb
from graphmesh_chassis.timestamps import to_timestamp

from graphmesh_retrieval.domain import Document, Draft, Hit
from graphmesh_retrieval.ingestion import IngestSummary


def drafts(request: pb.IngestDocumentsRequest) -> list[Draft]:
    return [
        Draft(document.document_id, document.title, document.uri, document.text, dict(document.attributes))
        for document in request.documents
    ]


def ingest_response(summary: IngestSummary) -> pb.IngestDocumentsResponse:
    return pb.IngestDocumentsResponse(
        added_count=summary.added,
        replaced_count=summary.replaced,
        unchanged_count=summary.unchanged,
        passage_count=summary.passages,
    )


def passage_message(hit: Hit) -> pb.Passage:
    source, passage = hit.candidate.source, hit.candidate.passage
    return pb.Passage(
        passage_id=hit.candidate.passage_id,
        document_id=source.document_id,
        title=source.title,
        uri=source.uri,
        heading_path=passage.headings,
        text=passage.text,
        score=hit.score,
        trust=pb.Trust.TRUST_UNTRUSTED,
    )


def document_message(document: Document) -> pb.Document:
    return pb.Document(
        document_id=document.document_id,
        title=document.title,
        uri=document.uri,
        attributes=document.attributes,
        passage_count=document.passage_count,
        update_time=to_timestamp(document.update_time),
    )


def document_response(document: Document) -> pb.GetDocumentResponse:
    return pb.GetDocumentResponse(
        document=document_message(document), text=document.text, trust=pb.Trust.TRUST_UNTRUSTED
    )
