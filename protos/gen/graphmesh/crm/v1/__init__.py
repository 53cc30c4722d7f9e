"""Contracts of `graphmesh.crm.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc

from .crm_pb2 import AddRecordRequest as AddRecordRequest
from .crm_pb2 import AddRecordResponse as AddRecordResponse
from .crm_pb2 import CreateCustomerRequest as CreateCustomerRequest
from .crm_pb2 import CreateCustomerResponse as CreateCustomerResponse
from .crm_pb2 import Customer as Customer
from .crm_pb2 import CustomerChange as CustomerChange
from .crm_pb2 import CustomerTier as CustomerTier
from .crm_pb2 import CustomerUpdate as CustomerUpdate
from .crm_pb2 import GetCustomerRequest as GetCustomerRequest
from .crm_pb2 import GetCustomerResponse as GetCustomerResponse
from .crm_pb2 import ListCustomerChangesRequest as ListCustomerChangesRequest
from .crm_pb2 import ListCustomerChangesResponse as ListCustomerChangesResponse
from .crm_pb2 import ListRecordsRequest as ListRecordsRequest
from .crm_pb2 import ListRecordsResponse as ListRecordsResponse
from .crm_pb2 import Record as Record
from .crm_pb2 import SearchCustomersRequest as SearchCustomersRequest
from .crm_pb2 import SearchCustomersResponse as SearchCustomersResponse
from .crm_pb2 import UpdateCustomerRequest as UpdateCustomerRequest
from .crm_pb2 import UpdateCustomerResponse as UpdateCustomerResponse
from .crm_pb2_grpc import CrmServiceServicer as CrmServiceServicer
from .crm_pb2_grpc import add_CrmServiceServicer_to_server as add_CrmServiceServicer_to_server


class CrmService:
    """The RPCs of `graphmesh.crm.v1.CrmService`."""

    NAME: Final = "graphmesh.crm.v1.CrmService"
    CreateCustomer: Final = Rpc(
        "/graphmesh.crm.v1.CrmService/CreateCustomer", CreateCustomerRequest, CreateCustomerResponse
    )
    GetCustomer: Final = Rpc(
        "/graphmesh.crm.v1.CrmService/GetCustomer", GetCustomerRequest, GetCustomerResponse
    )
    SearchCustomers: Final = Rpc(
        "/graphmesh.crm.v1.CrmService/SearchCustomers", SearchCustomersRequest, SearchCustomersResponse
    )
    UpdateCustomer: Final = Rpc(
        "/graphmesh.crm.v1.CrmService/UpdateCustomer", UpdateCustomerRequest, UpdateCustomerResponse
    )
    ListCustomerChanges: Final = Rpc(
        "/graphmesh.crm.v1.CrmService/ListCustomerChanges", ListCustomerChangesRequest, ListCustomerChangesResponse
    )
    AddRecord: Final = Rpc(
        "/graphmesh.crm.v1.CrmService/AddRecord", AddRecordRequest, AddRecordResponse
    )
    ListRecords: Final = Rpc(
        "/graphmesh.crm.v1.CrmService/ListRecords", ListRecordsRequest, ListRecordsResponse
    )
