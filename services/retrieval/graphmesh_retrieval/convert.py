"""Between retrieval's protobuf messages and its domain. Protobuf stops here."""

from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.retrieval import v1 as pb

from graphmesh_retrieval.domain import Document, Draft, Hit
from graphmesh_retrieval.ingestion import Outcome


def drafts(request: pb.IngestDocumentsRequest) -> list[Draft]:
    return [
        Draft(document.document_id, document.title, document.uri, document.text, dict(document.attributes))
        for document in request.documents
    ]


def ingest_response(outcome: Outcome) -> pb.IngestDocumentsResponse:
    return pb.IngestDocumentsResponse(
        added_count=outcome.added,
        replaced_count=outcome.replaced,
        unchanged_count=outcome.unchanged,
        passage_count=outcome.passages,
    )


def passage_message(hit: Hit) -> pb.Passage:
    source, section = hit.candidate.source, hit.candidate.entry.section
    return pb.Passage(
        passage_id=hit.candidate.passage_id,
        document_id=source.document_id,
        title=source.title,
        uri=source.uri,
        heading_path=section.headings,
        text=section.text,
        score=hit.score,
        trust=pb.Trust.TRUST_UNTRUSTED,
    )


def document_message(document: Document) -> pb.Document:
    update_time = Timestamp()
    update_time.FromDatetime(document.update_time)
    return pb.Document(
        document_id=document.document_id,
        title=document.title,
        uri=document.uri,
        attributes=document.attributes,
        passage_count=document.passage_count,
        update_time=update_time,
    )


def document_response(document: Document) -> pb.GetDocumentResponse:
    return pb.GetDocumentResponse(
        document=document_message(document), text=document.text, trust=pb.Trust.TRUST_UNTRUSTED
    )
