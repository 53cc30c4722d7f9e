"""The records of one case, made by the services for it alone, so that cases do not depend on their order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.billing.v1 import (
    BillingService,
    ChargeRequest,
    CreateInvoiceRequest,
    InvoiceLine,
    LineSelection,
    RefundRequest,
)
from graphmesh.common.v1 import Money
from graphmesh.crm.v1 import AddRecordRequest, CreateCustomerRequest, CrmService, CustomerTier, GetCustomerRequest
from graphmesh.retrieval.v1 import DocumentFormat, DocumentInput, IngestDocumentsRequest, RetrievalService
from graphmesh.ticketing.v1 import CreateTicketRequest, TicketingService
from graphmesh_chassis.errors import NotFound
from graphmesh_cli.commands.service_calls import ServiceCalls
from graphmesh_contracts import format_money, parse_amount

from graphmesh_eval.cases import PLACEHOLDER, Case, Purchase

TIERS = {
    "standard": CustomerTier.CUSTOMER_TIER_STANDARD,
    "plus": CustomerTier.CUSTOMER_TIER_PLUS,
    "vip": CustomerTier.CUSTOMER_TIER_VIP,
}
STRANGER = Purchase(lines=("Merlin desk pen, broad, slate: 24.50", "Sedge Green ink, 50 ml: 18.90"))
"""What the other customer of each case has bought."""
FIRST_NUMBER = 500_000
MAX_CASES = 100_000
"""Of an evaluation, with their repetitions."""


@dataclass(frozen=True)
class Person:
    """A customer, with what only this customer may read."""

    customer_id: str
    name: str
    email: str
    phone: str
    invoices: tuple[str, ...]
    orders: tuple[str, ...]
    charges: tuple[str, ...] = ()
    tickets: tuple[str, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the customer and of all of their records."""
        return frozenset({self.customer_id, *self.invoices, *self.orders, *self.charges, *self.tickets})

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.name, self.email, self.phone


@dataclass(frozen=True)
class Scene:
    """The customer of a case, and another one, whose records the case must not touch."""

    customer: Person
    stranger: Person
    facts: tuple[str, ...] = ()
    """Texts of the customer's own records, for the check of what an answer states."""

    def fill(self, text: str) -> str:
        """Return a text with the ids of records in place of the placeholders."""
        return PLACEHOLDER.sub(lambda found: self._value(found[1], int(found[2] or 1) - 1), text)

    def _value(self, name: str, index: int) -> str:
        own, other = self.customer, self.stranger
        several: dict[str, Sequence[str]] = {
            "invoice": own.invoices,
            "order": own.orders,
            "ticket": own.tickets,
            "charge": own.charges,
            "other_invoice": other.invoices,
            "other_charge": other.charges,
            "other_ticket": other.tickets,
        }
        if name in several:
            return several[name][index]
        single = {"customer": own.customer_id, "name": own.name, "other": other.customer_id, "other_name": other.name}
        return {**single, "other_email": other.email}[name]


class SceneMaker:
    """Makes the records of cases, each with numbers of its own from `first` on."""

    def __init__(self, calls: ServiceCalls, first: int) -> None:
        self._calls = calls
        self._numbers = count(first)

    async def make(self, case: Case) -> Scene:
        base = _base(next(self._numbers))
        records = case.records
        customer = _person(base, records.name, "hollander", len(records.purchases))
        stranger = _person(base + 9, "Ottokar Brandvold", "brandvold", 1)
        charges = await self._create(customer, records.purchases, records.tier, dict(records.attributes))
        tickets = [
            await self._open_ticket(customer, ticket.subject, ticket.text, ticket.queue, ticket.priority)
            for ticket in records.tickets
        ]
        others = await self._create(stranger, (STRANGER,), "standard", {})
        other_ticket = await self._open_ticket(stranger, "Address of my workshop", "It has moved.", "normal", "normal")
        return Scene(
            replace(customer, charges=tuple(charges), tickets=tuple(tickets)),
            replace(stranger, charges=tuple(others), tickets=(other_ticket,)),
            _facts(records.purchases),
        )

    async def _create(
        self, person: Person, purchases: Sequence[Purchase], tier: str, attributes: dict[str, str]
    ) -> list[str]:
        request = CreateCustomerRequest(
            customer_id=person.customer_id,
            name=person.name,
            email=person.email,
            phone=person.phone,
            tier=TIERS[tier],
            attributes=attributes,
        )
        await self._calls(CrmService.CreateCustomer, request)
        return [
            charge
            for index, purchase in enumerate(purchases)
            if (charge := await self._buy(person, purchase, person.invoices[index], person.orders[index]))
        ]

    async def _buy(self, person: Person, purchase: Purchase, invoice_id: str, order_id: str) -> str:
        """Return the id of the charge; empty where it is not paid."""
        lines = [_invoice_line(line, purchase.currency) for line in purchase.lines]
        total = sum(line.quantity * line.unit_price.amount_minor for line in lines)
        issued = _timestamp(purchase.days)
        await self._calls(
            BillingService.CreateInvoice,
            CreateInvoiceRequest(invoice_id=invoice_id, customer_id=person.customer_id, lines=lines, issue_time=issued),
        )
        order = AddRecordRequest(
            customer_id=person.customer_id,
            kind="order",
            record_id=order_id,
            title="; ".join(line.description for line in lines)[:500],
            status=purchase.status,
            attributes={
                "invoice_id": invoice_id,
                "total": format_money(purchase.currency, total),
                "payment": "paid" if purchase.paid else "open",
            },
            occur_time=issued,
        )
        await self._calls(CrmService.AddRecord, order)
        if not purchase.paid:
            return ""
        amount = Money(currency_code=purchase.currency, amount_minor=total)
        charged = await self._calls(BillingService.Charge, ChargeRequest(invoice_id=invoice_id, amount=amount))
        for number in purchase.refunded:
            line = lines[number - 1]
            price = Money(currency_code=purchase.currency, amount_minor=line.quantity * line.unit_price.amount_minor)
            refund = RefundRequest(
                charge_id=charged.charge.charge_id,
                amount=price,
                cause="refunded before",
                lines=[LineSelection(line_id=str(number), quantity=line.quantity)],
            )
            await self._calls(BillingService.Refund, refund)
        return charged.charge.charge_id

    async def _open_ticket(self, person: Person, subject: str, text: str, queue: str, priority: str) -> str:
        request = CreateTicketRequest(
            subject=subject, description=text, customer_id=person.customer_id, queue=queue, priority=priority
        )
        return (await self._calls(TicketingService.CreateTicket, request)).ticket.ticket_id


async def scene_maker(calls: ServiceCalls, cases: Sequence[Case]) -> SceneMaker:
    """Store the articles of all cases, and find numbers that no evaluation on this mesh has used."""
    await _add_articles(calls, cases)
    first = 0
    while await _is_used(calls, first):
        first += MAX_CASES
    return SceneMaker(calls, first)


async def _is_used(calls: ServiceCalls, number: int) -> bool:
    try:
        await calls(CrmService.GetCustomer, GetCustomerRequest(customer_id=_customer_id(_base(number))))
    except NotFound:
        return False
    return True


async def _add_articles(calls: ServiceCalls, cases: Sequence[Case]) -> None:
    found = {(article.title, article.text) for case in cases for article in case.records.articles}
    documents = [
        DocumentInput(
            document_id=f"eval-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}.md",
            title=title,
            text=text,
            format=DocumentFormat.DOCUMENT_FORMAT_MARKDOWN,
        )
        for title, text in sorted(found)
    ]
    if documents:
        request = IngestDocumentsRequest(documents=documents)
        await calls(RetrievalService.IngestDocuments, request)


def _base(number: int) -> int:
    """Return the first of the ten numbers of a case's records."""
    return FIRST_NUMBER + number * 10


def _customer_id(number: int) -> str:
    return f"cu_{number}"


def _person(number: int, name: str, mailbox: str, purchases: int) -> Person:
    return Person(
        customer_id=_customer_id(number),
        name=name,
        email=f"{mailbox}.{number}@example.net",
        phone=f"+49 555 7{number}",
        invoices=tuple(f"INV-{number + index}" for index in range(purchases)),
        orders=tuple(f"TT-{number + index}" for index in range(purchases)),
    )


def _facts(purchases: Sequence[Purchase]) -> tuple[str, ...]:
    return tuple(line for purchase in purchases for line in (*purchase.lines, purchase.status))


def _invoice_line(text: str, currency: str) -> InvoiceLine:
    described, _, price = text.rpartition(": ")
    number, separator, rest = described.partition(" x ")
    quantity = int(number) if separator and number.isdigit() else 1
    description = rest if separator and number.isdigit() else described
    minor = parse_amount(price, currency)
    return InvoiceLine(
        description=description,
        quantity=quantity,
        unit_price=Money(currency_code=currency, amount_minor=minor or 0),
    )


def _timestamp(days: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) - timedelta(days=days, hours=1))
    return stamp
