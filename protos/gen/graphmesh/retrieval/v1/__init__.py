"""Contracts of `graphmesh.retrieval.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc

from .retrieval_pb2 import DeleteDocumentsRequest as DeleteDocumentsRequest
from .retrieval_pb2 import DeleteDocumentsResponse as DeleteDocumentsResponse
from .retrieval_pb2 import Document as Document
from .retrieval_pb2 import DocumentFormat as DocumentFormat
from .retrieval_pb2 import DocumentInput as DocumentInput
from .retrieval_pb2 import GetDocumentRequest as GetDocumentRequest
from .retrieval_pb2 import GetDocumentResponse as GetDocumentResponse
from .retrieval_pb2 import GetPassageRequest as GetPassageRequest
from .retrieval_pb2 import GetPassageResponse as GetPassageResponse
from .retrieval_pb2 import IngestDocumentsRequest as IngestDocumentsRequest
from .retrieval_pb2 import IngestDocumentsResponse as IngestDocumentsResponse
from .retrieval_pb2 import IngestFailure as IngestFailure
from .retrieval_pb2 import ListDocumentVersionsRequest as ListDocumentVersionsRequest
from .retrieval_pb2 import ListDocumentVersionsResponse as ListDocumentVersionsResponse
from .retrieval_pb2 import ListDocumentsRequest as ListDocumentsRequest
from .retrieval_pb2 import ListDocumentsResponse as ListDocumentsResponse
from .retrieval_pb2 import Passage as Passage
from .retrieval_pb2 import SearchRequest as SearchRequest
from .retrieval_pb2 import SearchResponse as SearchResponse
from .retrieval_pb2 import Trust as Trust
from .retrieval_pb2_grpc import RetrievalServiceServicer as RetrievalServiceServicer
from .retrieval_pb2_grpc import add_RetrievalServiceServicer_to_server as add_RetrievalServiceServicer_to_server


class RetrievalService:
    """The RPCs of `graphmesh.retrieval.v1.RetrievalService`."""

    NAME: Final = "graphmesh.retrieval.v1.RetrievalService"
    IngestDocuments: Final = Rpc(
        "/graphmesh.retrieval.v1.RetrievalService/IngestDocuments", IngestDocumentsRequest, IngestDocumentsResponse
    )
    Search: Final = Rpc(
        "/graphmesh.retrieval.v1.RetrievalService/Search", SearchRequest, SearchResponse
    )
    GetDocument: Final = Rpc(
        "/graphmesh.retrieval.v1.RetrievalService/GetDocument", GetDocumentRequest, GetDocumentResponse
    )
    GetPassage: Final = Rpc(
        "/graphmesh.retrieval.v1.RetrievalService/GetPassage", GetPassageRequest, GetPassageResponse
    )
    ListDocumentVersions: Final = Rpc(
        "/graphmesh.retrieval.v1.RetrievalService/ListDocumentVersions", ListDocumentVersionsRequest, ListDocumentVersionsResponse
    )
    ListDocuments: Final = Rpc(
        "/graphmesh.retrieval.v1.RetrievalService/ListDocuments", ListDocumentsRequest, ListDocumentsResponse
    )
    DeleteDocuments: Final = Rpc(
        "/graphmesh.retrieval.v1.RetrievalService/DeleteDocuments", DeleteDocumentsRequest, DeleteDocumentsResponse
    )
