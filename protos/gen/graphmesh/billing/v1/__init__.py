"""Contracts of `graphmesh.billing.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc

from .billing_pb2 import AccountBalance as AccountBalance
from .billing_pb2 import Charge as Charge
from .billing_pb2 import ChargeRequest as ChargeRequest
from .billing_pb2 import ChargeResponse as ChargeResponse
from .billing_pb2 import CreateInvoiceRequest as CreateInvoiceRequest
from .billing_pb2 import CreateInvoiceResponse as CreateInvoiceResponse
from .billing_pb2 import GetChargeRequest as GetChargeRequest
from .billing_pb2 import GetChargeResponse as GetChargeResponse
from .billing_pb2 import GetInvoiceRequest as GetInvoiceRequest
from .billing_pb2 import GetInvoiceResponse as GetInvoiceResponse
from .billing_pb2 import GetTrialBalanceRequest as GetTrialBalanceRequest
from .billing_pb2 import GetTrialBalanceResponse as GetTrialBalanceResponse
from .billing_pb2 import Invoice as Invoice
from .billing_pb2 import InvoiceLine as InvoiceLine
from .billing_pb2 import InvoiceStatus as InvoiceStatus
from .billing_pb2 import ListInvoicesRequest as ListInvoicesRequest
from .billing_pb2 import ListInvoicesResponse as ListInvoicesResponse
from .billing_pb2 import Refund as Refund
from .billing_pb2 import RefundRequest as RefundRequest
from .billing_pb2 import RefundResponse as RefundResponse
from .billing_pb2_grpc import BillingServiceServicer as BillingServiceServicer
from .billing_pb2_grpc import add_BillingServiceServicer_to_server as add_BillingServiceServicer_to_server


class BillingService:
    """The RPCs of `graphmesh.billing.v1.BillingService`."""

    NAME: Final = "graphmesh.billing.v1.BillingService"
    CreateInvoice: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/CreateInvoice", CreateInvoiceRequest, CreateInvoiceResponse
    )
    GetInvoice: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/GetInvoice", GetInvoiceRequest, GetInvoiceResponse
    )
    ListInvoices: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/ListInvoices", ListInvoicesRequest, ListInvoicesResponse
    )
    Charge: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/Charge", ChargeRequest, ChargeResponse
    )
    Refund: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/Refund", RefundRequest, RefundResponse
    )
    GetCharge: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/GetCharge", GetChargeRequest, GetChargeResponse
    )
    GetTrialBalance: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/GetTrialBalance", GetTrialBalanceRequest, GetTrialBalanceResponse
    )
