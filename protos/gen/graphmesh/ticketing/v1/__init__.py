"""Contracts of `graphmesh.ticketing.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc

from .ticketing_pb2 import AddCommentRequest as AddCommentRequest
from .ticketing_pb2 import AddCommentResponse as AddCommentResponse
from .ticketing_pb2 import Comment as Comment
from .ticketing_pb2 import CreateTicketRequest as CreateTicketRequest
from .ticketing_pb2 import CreateTicketResponse as CreateTicketResponse
from .ticketing_pb2 import GetTicketPolicyRequest as GetTicketPolicyRequest
from .ticketing_pb2 import GetTicketPolicyResponse as GetTicketPolicyResponse
from .ticketing_pb2 import GetTicketRequest as GetTicketRequest
from .ticketing_pb2 import GetTicketResponse as GetTicketResponse
from .ticketing_pb2 import ListCommentsRequest as ListCommentsRequest
from .ticketing_pb2 import ListCommentsResponse as ListCommentsResponse
from .ticketing_pb2 import SearchTicketsRequest as SearchTicketsRequest
from .ticketing_pb2 import SearchTicketsResponse as SearchTicketsResponse
from .ticketing_pb2 import SetTicketPolicyRequest as SetTicketPolicyRequest
from .ticketing_pb2 import SetTicketPolicyResponse as SetTicketPolicyResponse
from .ticketing_pb2 import Ticket as Ticket
from .ticketing_pb2 import TicketOrder as TicketOrder
from .ticketing_pb2 import TicketPolicy as TicketPolicy
from .ticketing_pb2 import TicketPriority as TicketPriority
from .ticketing_pb2 import TicketQueue as TicketQueue
from .ticketing_pb2 import TicketStatus as TicketStatus
from .ticketing_pb2 import TicketUpdate as TicketUpdate
from .ticketing_pb2 import UpdateTicketRequest as UpdateTicketRequest
from .ticketing_pb2 import UpdateTicketResponse as UpdateTicketResponse
from .ticketing_pb2_grpc import TicketingServiceServicer as TicketingServiceServicer
from .ticketing_pb2_grpc import add_TicketingServiceServicer_to_server as add_TicketingServiceServicer_to_server


class TicketingService:
    """The RPCs of `graphmesh.ticketing.v1.TicketingService`."""

    NAME: Final = "graphmesh.ticketing.v1.TicketingService"
    CreateTicket: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/CreateTicket", CreateTicketRequest, CreateTicketResponse
    )
    UpdateTicket: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/UpdateTicket", UpdateTicketRequest, UpdateTicketResponse
    )
    AddComment: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/AddComment", AddCommentRequest, AddCommentResponse
    )
    GetTicket: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/GetTicket", GetTicketRequest, GetTicketResponse
    )
    ListComments: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/ListComments", ListCommentsRequest, ListCommentsResponse
    )
    SearchTickets: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/SearchTickets", SearchTicketsRequest, SearchTicketsResponse
    )
    GetTicketPolicy: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/GetTicketPolicy", GetTicketPolicyRequest, GetTicketPolicyResponse
    )
    SetTicketPolicy: Final = Rpc(
        "/graphmesh.ticketing.v1.TicketingService/SetTicketPolicy", SetTicketPolicyRequest, SetTicketPolicyResponse
    )
