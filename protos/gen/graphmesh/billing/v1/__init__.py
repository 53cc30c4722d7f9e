"""Contracts of `graphmesh.billing.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc

from .billing_pb2 import AccountBalance as AccountBalance
from .billing_pb2 import BrokenRefundRule as BrokenRefundRule
from .billing_pb2 import CalendarPeriod as CalendarPeriod
from .billing_pb2 import Charge as Charge
from .billing_pb2 import ChargeRequest as ChargeRequest
from .billing_pb2 import ChargeResponse as ChargeResponse
from .billing_pb2 import CreateCreditNoteRequest as CreateCreditNoteRequest
from .billing_pb2 import CreateCreditNoteResponse as CreateCreditNoteResponse
from .billing_pb2 import CreateInvoiceRequest as CreateInvoiceRequest
from .billing_pb2 import CreateInvoiceResponse as CreateInvoiceResponse
from .billing_pb2 import CreditNote as CreditNote
from .billing_pb2 import GetChargeRequest as GetChargeRequest
from .billing_pb2 import GetChargeResponse as GetChargeResponse
from .billing_pb2 import GetInvoiceRequest as GetInvoiceRequest
from .billing_pb2 import GetInvoiceResponse as GetInvoiceResponse
from .billing_pb2 import GetRefundPolicyRequest as GetRefundPolicyRequest
from .billing_pb2 import GetRefundPolicyResponse as GetRefundPolicyResponse
from .billing_pb2 import GetStatementRequest as GetStatementRequest
from .billing_pb2 import GetStatementResponse as GetStatementResponse
from .billing_pb2 import GetTrialBalanceRequest as GetTrialBalanceRequest
from .billing_pb2 import GetTrialBalanceResponse as GetTrialBalanceResponse
from .billing_pb2 import Invoice as Invoice
from .billing_pb2 import InvoiceLine as InvoiceLine
from .billing_pb2 import InvoiceStatus as InvoiceStatus
from .billing_pb2 import LineAmount as LineAmount
from .billing_pb2 import LineSelection as LineSelection
from .billing_pb2 import ListInvoicesRequest as ListInvoicesRequest
from .billing_pb2 import ListInvoicesResponse as ListInvoicesResponse
from .billing_pb2 import PreviewRefundRequest as PreviewRefundRequest
from .billing_pb2 import PreviewRefundResponse as PreviewRefundResponse
from .billing_pb2 import RecordChargebackRequest as RecordChargebackRequest
from .billing_pb2 import RecordChargebackResponse as RecordChargebackResponse
from .billing_pb2 import Refund as Refund
from .billing_pb2 import RefundInvoiceStatuses as RefundInvoiceStatuses
from .billing_pb2 import RefundLimit as RefundLimit
from .billing_pb2 import RefundLimitScope as RefundLimitScope
from .billing_pb2 import RefundPolicy as RefundPolicy
from .billing_pb2 import RefundRefusal as RefundRefusal
from .billing_pb2 import RefundRequest as RefundRequest
from .billing_pb2 import RefundResponse as RefundResponse
from .billing_pb2 import RefundRule as RefundRule
from .billing_pb2 import RefundRuleEffect as RefundRuleEffect
from .billing_pb2 import SetRefundPolicyRequest as SetRefundPolicyRequest
from .billing_pb2 import SetRefundPolicyResponse as SetRefundPolicyResponse
from .billing_pb2 import StatementEntry as StatementEntry
from .billing_pb2 import StatementKind as StatementKind
from .billing_pb2 import TaxLine as TaxLine
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
    PreviewRefund: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/PreviewRefund", PreviewRefundRequest, PreviewRefundResponse
    )
    GetRefundPolicy: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/GetRefundPolicy", GetRefundPolicyRequest, GetRefundPolicyResponse
    )
    SetRefundPolicy: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/SetRefundPolicy", SetRefundPolicyRequest, SetRefundPolicyResponse
    )
    CreateCreditNote: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/CreateCreditNote", CreateCreditNoteRequest, CreateCreditNoteResponse
    )
    RecordChargeback: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/RecordChargeback", RecordChargebackRequest, RecordChargebackResponse
    )
    GetStatement: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/GetStatement", GetStatementRequest, GetStatementResponse
    )
    GetCharge: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/GetCharge", GetChargeRequest, GetChargeResponse
    )
    GetTrialBalance: Final = Rpc(
        "/graphmesh.billing.v1.BillingService/GetTrialBalance", GetTrialBalanceRequest, GetTrialBalanceResponse
    )
