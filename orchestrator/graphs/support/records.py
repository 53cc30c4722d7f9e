"""The nodes that read records and articles, in parallel. Each degrades alone, and notes what is missing."""

from collections.abc import Callable

from graphmesh.billing.v1 import BillingService, ListInvoicesRequest, ListInvoicesResponse
from graphmesh.crm.v1 import (
    CrmService,
    GetCustomerRequest,
    GetCustomerResponse,
    ListRecordsRequest,
    ListRecordsResponse,
)
from graphmesh.retrieval.v1 import RetrievalService, SearchRequest, SearchResponse
from graphmesh_contracts import EXPONENTS
from graphmesh_nodes import Fallback, Update, degrade, remote
from graphmesh_nodes.errors import NotFound
from graphmesh_nodes.guardrails.tool_outputs import first_broken, has_amounts_in, has_at_most, is_record

from support import claims, convert, relevance, texts
from support.state import Account, Passage, State

MAX_INVOICES = 100
"""Invoices of a customer that are read, newest first."""
KEPT_INVOICES = 5
MAX_ORDERS = 100
MIN_RELATIVE_SCORE = 0.9
"""Passages below this share of the best one's score are dropped, since they distract the model."""


def _noted(name: str) -> Fallback:
    return degrade(lambda state, _: {"notes": [texts.note(state, name)]})


def _account_found(_: State, response: GetCustomerResponse) -> Update:
    return {"account": convert.account(response.customer)}


customer = remote(
    CrmService.GetCustomer,
    request=lambda state: GetCustomerRequest(customer_id=state["customer_id"]),
    update=_account_found,
    expect=lambda state, response: is_record(response.customer.customer_id, state["customer_id"]),
    fallback=_noted("account"),
    refusals={NotFound: degrade(lambda _, __: {"account": Account(known=False, tier="", language="")})},
)


def _orders_found(_: State, response: ListRecordsResponse) -> Update:
    return {"orders": [convert.order(record) for record in response.records]}


orders = remote(
    CrmService.ListRecords,
    request=lambda state: ListRecordsRequest(customer_id=state["customer_id"], kind="order", page_size=MAX_ORDERS),
    update=_orders_found,
    expect=lambda state, response: first_broken(
        has_at_most(response.records, MAX_ORDERS),
        *(is_record(record.customer_id, state["customer_id"]) for record in response.records),
    ),
    fallback=_noted("orders"),
    refusals={NotFound: degrade(lambda _, __: {"orders": []})},
)


def _invoices_found(state: State, response: ListInvoicesResponse) -> Update:
    """Keep the newest invoices and those that the conversation names, so that the state stays small."""
    found = [convert.invoice(invoice) for invoice in response.invoices]
    is_named = _names_of(state)
    return {
        "invoices": [
            invoice for index, invoice in enumerate(found) if index < KEPT_INVOICES or is_named(invoice["invoice_id"])
        ]
    }


def _names_of(state: State) -> Callable[[str], bool]:
    earlier = state["follows"]["message"] if state["follows"] else ""
    return lambda identity: claims.mentions_id(f"{earlier}\n{state['message']}", identity)


invoices = remote(
    BillingService.ListInvoices,
    request=lambda state: ListInvoicesRequest(customer_id=state["customer_id"], page_size=MAX_INVOICES),
    update=_invoices_found,
    expect=lambda state, response: first_broken(
        has_at_most(response.invoices, MAX_INVOICES),
        has_amounts_in(response, EXPONENTS),
        *(is_record(invoice.customer_id, state["customer_id"]) for invoice in response.invoices),
    ),
    fallback=_noted("billing"),
)


def _search_request(state: State) -> SearchRequest:
    query = state["understanding"]["query"][: convert.MAX_QUERY_CHARACTERS]
    return SearchRequest(query=query, limit=convert.MAX_PASSAGES)


def _passages_found(state: State, response: SearchResponse) -> Update:
    question = state["understanding"]["query"]
    return {"passages": _relevant([relevance.rated(question, convert.passage(found)) for found in response.passages])}


def _relevant(found: list[Passage]) -> list[Passage]:
    least = MIN_RELATIVE_SCORE * max((passage["score"] for passage in found), default=0)
    return [passage for passage in found if passage["score"] >= least > 0]


knowledge = remote(
    RetrievalService.Search,
    request=_search_request,
    update=_passages_found,
    expect=lambda _, response: has_at_most(response.passages, convert.MAX_PASSAGES),
    fallback=_noted("knowledge"),
)
