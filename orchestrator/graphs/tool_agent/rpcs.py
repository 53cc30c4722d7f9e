"""The RPCs that the agent may call as tools."""

from graphmesh.billing.v1 import BillingService
from graphmesh.crm.v1 import CrmService
from graphmesh.retrieval.v1 import RetrievalService
from graphmesh.ticketing.v1 import TicketingService

READS = (
    BillingService.ListInvoices,
    BillingService.GetInvoice,
    BillingService.PreviewRefund,
    CrmService.GetCustomer,
    CrmService.ListRecords,
    TicketingService.GetTicket,
    TicketingService.SearchTickets,
    RetrievalService.Search,
)
EFFECTS = (BillingService.Refund, TicketingService.CreateTicket, TicketingService.AddComment)
