"""CrmService: decode, use case, encode."""

from datetime import datetime
from typing import Any

from graphmesh.crm import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.pages import decode_position, page_of, page_size
from graphmesh_chassis.store import Store

from graphmesh_crm import convert, updates
from graphmesh_crm.customers import Customers


class CrmServicer(pb.CrmServiceServicer):
    def __init__(self, store: Store[Customers]) -> None:
        self._store = store

    async def CreateCustomer(self, request: pb.CreateCustomerRequest, context: Any) -> pb.CreateCustomerResponse:
        async with self._store.effect() as effect:
            customer = await updates.create_customer(effect.port, request.customer_id, convert.profile(request))
            return effect.respond(pb.CreateCustomerResponse(customer=convert.customer_message(customer)))

    async def GetCustomer(self, request: pb.GetCustomerRequest, context: Any) -> pb.GetCustomerResponse:
        async with self._store.read() as customers:
            customer = await customers.customer(request.customer_id)
        return pb.GetCustomerResponse(customer=convert.customer_message(customer))

    async def SearchCustomers(self, request: pb.SearchCustomersRequest, context: Any) -> pb.SearchCustomersResponse:
        size = page_size(request.page_size)
        before = decode_position(request.page_token, datetime, str)
        async with self._store.read() as customers:
            found = await customers.search(request.text, request.email, before, size + 1)
        page = page_of(found, size, convert.customer_message, lambda customer: (customer.created, customer.customer_id))
        return pb.SearchCustomersResponse(customers=page.messages, next_page_token=page.next_token)

    async def UpdateCustomer(self, request: pb.UpdateCustomerRequest, context: Any) -> pb.UpdateCustomerResponse:
        async with self._store.effect() as effect:
            customer, changes = await updates.update_customer(
                effect.port,
                request.customer_id,
                convert.profile_update(request),
                expected_version=request.expected_version,
                reason=request.reason,
                author=current_call().caller.subject,
            )
            return effect.respond(
                pb.UpdateCustomerResponse(
                    customer=convert.customer_message(customer),
                    changes=[convert.change_message(change) for change in changes],
                )
            )

    async def ListCustomerChanges(
        self, request: pb.ListCustomerChangesRequest, context: Any
    ) -> pb.ListCustomerChangesResponse:
        size = page_size(request.page_size)
        before = decode_position(request.page_token, int, str)
        async with self._store.read() as customers:
            await customers.customer(request.customer_id)
            found = await customers.changes(request.customer_id, before, size + 1)
        page = page_of(found, size, convert.change_message, lambda change: (change.version, change.field))
        return pb.ListCustomerChangesResponse(changes=page.messages, next_page_token=page.next_token)

    async def AddRecord(self, request: pb.AddRecordRequest, context: Any) -> pb.AddRecordResponse:
        async with self._store.effect() as effect:
            record = await updates.add_record(effect.port, convert.record(request))
            return effect.respond(pb.AddRecordResponse(record=convert.record_message(record)))

    async def ListRecords(self, request: pb.ListRecordsRequest, context: Any) -> pb.ListRecordsResponse:
        size = page_size(request.page_size)
        before = decode_position(request.page_token, datetime, str)
        async with self._store.read() as customers:
            await customers.customer(request.customer_id)
            found = await customers.records(request.customer_id, request.kind, before, size + 1)
        page = page_of(found, size, convert.record_message, lambda record: (record.occurred, record.record_id))
        return pb.ListRecordsResponse(records=page.messages, next_page_token=page.next_token)
