"""A call that is bound to a customer reads and changes nothing of another one, through any RPC with customers' records.

A tenant makes every call of billing, crm and ticketing for one customer. Each is then repeated, bound to another one
that knows all ids, and to the customer itself. A new RPC has to declare its check, and to be added to `tenant_life`.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format
from graphmesh.crm.v1 import CrmService
from graphmesh.ticketing.v1 import TicketingService
from graphmesh_chassis.customers import is_customer
from graphmesh_chassis.status import from_rpc_error
from graphmesh_contracts import CustomerCheck, Idempotency, Method, method_policy

from tests.contract.contracts.servers import SERVICES, serve
from tests.contract.contracts.tenant_life import SECRET, live_with_a_customer
from tests.contract.fields import rpcs

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER, OTHER = "mine-cu", "other-cu"
RPCS = {rpc.path: (name, rpc) for name in ("billing", "crm", "ticketing") for rpc in rpcs(SERVICES[name])}
CHECKS = {path: method_policy(rpc.descriptor).customer for path, (_, rpc) in RPCS.items()}
LISTS = {CrmService.SearchCustomers.path, TicketingService.SearchTickets.path}
"""The RPCs that find records, and name none."""
REFUSED = {CustomerCheck.FIELD: "CUSTOMER_MISMATCH", CustomerCheck.REFUSED: "CUSTOMER_MISMATCH"}


@dataclass
class Shop:
    """Servers of the three services, and the calls that were made."""

    channels: dict[str, grpc.aio.Channel]
    made: list[tuple[Method[Any, Any], dict[str, Any]]] = field(default_factory=list)
    sent: int = 0

    async def call(self, rpc: Method[Any, Any], **fields: Any) -> Any:
        self.made.append((rpc, fields))
        return await self.send(rpc, fields)

    async def send(self, rpc: Method[Any, Any], fields: dict[str, Any], customer: str = "") -> Any:
        """Return the response as JSON, or the reason and the message of the refusal."""
        self.sent += 1
        headers = [("idempotency-key", f"key-{self.sent}"), *([("x-graphmesh-customer", customer)] if customer else [])]
        method: Any = self.channels[RPCS[rpc.path][0]].unary_unary(rpc.path, None, rpc.response.FromString)
        payload = json_format.ParseDict(fields, rpc.request()).SerializeToString()
        try:
            return json_format.MessageToDict(await method(payload, timeout=60, metadata=headers))
        except grpc.aio.AioRpcError as error:
            refusal = from_rpc_error(error, rpc.tool)
            return [refusal.reason, refusal.message]

    async def reads(self, customer: str = "") -> list[Any]:
        """Repeat all reads, but those that no customer may make."""
        policies = [(rpc, fields, method_policy(rpc.descriptor)) for rpc, fields in self.made]
        return [
            await self.send(rpc, fields, customer)
            for rpc, fields, policy in policies
            if policy.idempotency is Idempotency.READ and policy.customer is not CustomerCheck.REFUSED
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        names = ("billing", "crm", "ticketing")
        servers = {name: serve(name, tmp_path_factory.mktemp(name), {}) for name in names}
        opened = Shop({name: await stack.enter_async_context(server) for name, server in servers.items()})
        await live_with_a_customer(opened.call)
        await opened.call(CrmService.SearchCustomers, email=f"{SECRET}@example.com")
        yield opened


async def test_every_rpc_declares_how_it_is_held_to_a_customer(shop: Shop) -> None:
    """One that is checked by a field has it, and each was called for the tests below."""
    assert not [path for path, check in CHECKS.items() if check is CustomerCheck.UNSPECIFIED]
    by_field = [rpc for path, (_, rpc) in RPCS.items() if CHECKS[path] is CustomerCheck.FIELD]
    assert [rpc.path for rpc in by_field if not any(map(is_customer, rpc.request.DESCRIPTOR.fields))] == []
    assert RPCS.keys() == {rpc.path for rpc, _ in shop.made}


async def test_no_record_of_another_customer_is_read_or_changed(shop: Shop) -> None:
    """Those that are named are as unknown as ids that never existed, lists are empty, and all is as it was."""
    before = await shop.reads()
    for rpc, fields in shop.made:
        answer, check = await shop.send(rpc, fields, OTHER), CHECKS[rpc.path]
        assert SECRET not in json.dumps(answer), rpc.tool
        if check is CustomerCheck.RECORD and rpc.path not in LISTS:
            assert answer[0] == "RESOURCE_NOT_FOUND", f"{rpc.tool}: {answer}"
            assert answer[1].startswith("There is no "), f"{rpc.tool}: {answer}"
        elif check is CustomerCheck.RECORD:
            assert answer in ({}, ["CUSTOMER_MISMATCH", answer and answer[1]]), f"{rpc.tool}: {answer}"
        elif check in REFUSED:
            assert answer[0] == REFUSED[check], f"{rpc.tool}: {answer}"
    assert await shop.reads() == before


async def test_a_customer_reads_its_own_records(shop: Shop) -> None:
    """The answers are those of a call that is bound to none, but for customers that a search finds besides."""
    unbound, bound = await shop.reads(), await shop.reads(OWNER)
    for everything, own in zip(unbound, bound, strict=True):
        if isinstance(own, dict) and "customers" in own:
            assert {one["customerId"] for one in own["customers"]} == {OWNER}
        else:
            assert own == everything or (own == {} and "customers" in everything)


async def test_a_request_without_its_customer_is_refused(shop: Shop) -> None:
    """A ticket of no customer would be a record that its customer cannot read."""
    answer = await shop.send(TicketingService.CreateTicket, {"subject": "help"}, OWNER)
    assert answer == ["CUSTOMER_MISMATCH", "The call is bound to a customer, and its customer_id is not that customer"]


async def test_comments_for_colleagues_are_not_shown_to_the_customer(shop: Shop) -> None:
    made = await shop.send(TicketingService.CreateTicket, {"subject": "help", "customerId": OWNER})
    ticket = {"ticketId": made["ticket"]["ticketId"]}
    for text, internal in (("for you", False), ("for us", True)):
        comment = {**ticket, "author": "ada", "text": text, "internal": internal}
        await shop.send(TicketingService.AddComment, comment)
    for rpc in (TicketingService.GetTicket, TicketingService.ListComments):
        assert [one["text"] for one in (await shop.send(rpc, ticket, OWNER))["comments"]] == ["for you"]
        assert len((await shop.send(rpc, ticket))["comments"]) == 2
