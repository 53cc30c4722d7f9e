"""`graphmesh import` with real servers: each row is imported exactly once."""

import asyncio
import json
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.billing.v1 import BillingService
from graphmesh.crm import v1 as crm
from graphmesh_billing.__main__ import build as build_billing
from graphmesh_billing.settings import Settings as BillingSettings
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.serve import Servable, Service
from graphmesh_chassis.settings import SecretUrl, ServerSettings
from graphmesh_chassis.store import MemoryStore
from graphmesh_chassis.testing import Served, running
from graphmesh_cli.app import app
from graphmesh_cli.commands.import_rows import Counts, NotImportable, Refusal, Stopped, import_rows
from graphmesh_cli.commands.row_sources import Row
from graphmesh_cli.commands.rpc_catalogue import all_rpcs
from graphmesh_contracts import Overrides
from graphmesh_crm.__main__ import build
from graphmesh_crm.customers import MemoryCustomers
from graphmesh_crm.servicer import CrmServicer
from graphmesh_crm.settings import Settings
from typer.testing import CliRunner

Crm = crm.CrmService


def customers(count: int) -> list[Row]:
    return [Row(number, {"customer_id": f"cu-{number}", "name": "Mira"}) for number in range(1, count + 1)]


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    settings = Settings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path}/crm.db"))
    async with build(settings) as servable, running(servable, settings) as served:
        yield served


async def stored(channel: Channel, tenant: str = "default") -> int:
    headers = [("x-graphmesh-tenant", tenant)]
    request = crm.SearchCustomersRequest(page_size=100)
    return len(
        (await channel.unary(Crm.SearchCustomers, request, deadline=Deadline.after(60), headers=headers)).customers
    )


async def cli(*arguments: str) -> tuple[int | None, str]:
    """Run `graphmesh import …` as a process, and return its exit code and its output."""
    command = (sys.executable, "-m", "graphmesh_cli", "import", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_repeated_import_changes_nothing(served: Served) -> None:
    assert await import_rows(served.channel, Crm.CreateCustomer, customers(20)) == Counts(done=20)
    assert await import_rows(served.channel, Crm.CreateCustomer, customers(20)) == Counts(already_there=20)
    assert await import_rows(served.channel, Crm.CreateCustomer, customers(21), key_prefix="x") == Counts(1, 20)
    assert await stored(served.channel) == 21


async def test_a_row_without_an_id_is_imported_once(served: Served) -> None:
    """However its request is written."""
    assert await import_rows(served.channel, Crm.CreateCustomer, [Row(1, {"name": "Mira"})]) == Counts(done=1)
    again = Row(1, {"name": "Mira", "email": "", "attributes": {}})
    assert await import_rows(served.channel, Crm.CreateCustomer, [again]) == Counts(already_there=1)
    assert await stored(served.channel) == 1


async def test_rows_belong_to_the_tenant(served: Served) -> None:
    await import_rows(served.channel, Crm.CreateCustomer, customers(3), tenant="acme")
    assert (await stored(served.channel, "acme"), await stored(served.channel)) == (3, 0)


async def test_every_refusal_names_row_field_and_rule(served: Served) -> None:
    """All other rows are imported."""
    refused: list[Refusal] = []

    def on_row(counts: Counts, refusals: Sequence[Refusal]) -> None:
        refused.extend(refusals)

    rows = [
        *customers(2),
        Row(3, {"customer_id": "no spaces", "email": "nobody", "name": "Mira"}),
        Row(4, {"nmae": "Mira"}),
        Row(5, ["Mira"]),
        Row(6, None, "not JSON: it ends early"),
    ]
    counts = await import_rows(served.channel, Crm.CreateCustomer, rows, on_row=on_row, concurrency=1)
    assert counts == Counts(done=2, refused=4)
    assert [(refusal.row, refusal.field) for refusal in refused] == [
        (3, "customer_id"),
        (3, "email"),
        (4, ""),
        (5, ""),
        (6, ""),
    ]
    assert 'no field named "nmae"' in refused[2].rule


class CountingServicer(CrmServicer):
    """Counts its concurrent calls."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(MemoryCustomers))
        self.active = self.max_active = 0

    async def CreateCustomer(self, request: crm.CreateCustomerRequest, context: Any) -> crm.CreateCustomerResponse:
        self.active += 1
        self.max_active = max(self.max_active, self.active)
        await asyncio.sleep(0.01)
        self.active -= 1
        return await super().CreateCustomer(request, context)


@asynccontextmanager
async def counting_service(**policy: int) -> AsyncIterator[tuple[CountingServicer, Channel]]:
    servicer = CountingServicer()
    servable = Servable([Service(Crm, crm.add_CrmServiceServicer_to_server, servicer)])
    async with running(servable, ServerSettings(policy=Overrides(service=policy))) as served:
        yield servicer, served.channel


async def test_concurrency_is_limited() -> None:
    async with counting_service() as (servicer, channel):
        await import_rows(channel, Crm.CreateCustomer, customers(40), concurrency=3)
    assert servicer.max_active == 3


async def test_rows_are_read_as_calls_are_made() -> None:
    """A file of any length is not read into memory."""
    read = sent = 0

    def rows() -> Iterator[Row]:
        nonlocal read
        for row in customers(100):
            read += 1
            assert read - sent <= 5
            yield row

    def on_row(counts: Counts, refusals: Sequence[Refusal]) -> None:
        nonlocal sent
        sent = counts.done

    async with counting_service() as (_, channel):
        await import_rows(channel, Crm.CreateCustomer, rows(), concurrency=4, on_row=on_row)
    assert read == sent == 100


async def test_refusals_of_a_full_service_are_retried() -> None:
    """The service admits one call and queues none; every row is imported."""
    async with counting_service(maxConcurrency=1, maxQueue=0) as (servicer, channel):
        counts = await import_rows(channel, Crm.CreateCustomer, customers(4), concurrency=2)
    assert (counts, servicer.max_active) == (Counts(done=4), 1)


async def test_an_unreachable_service_stops_the_import() -> None:
    async with Channel("127.0.0.1:1") as channel:
        with pytest.raises(Stopped, match=r"stopped at row 1: crm\.CreateCustomer: The service could not be reached"):
            await import_rows(channel, Crm.CreateCustomer, customers(3), concurrency=1)


async def test_an_error_of_every_row_stops_at_the_first(served: Served) -> None:
    with pytest.raises(Stopped, match="There is no method"):
        await import_rows(
            served.channel, BillingService.Charge, [Row(1, {"invoiceId": "x", "amount": {"amountMinor": 1}})]
        )


async def test_a_streaming_rpc_cannot_be_imported(served: Served) -> None:
    with pytest.raises(NotImportable, match=r"model\.StreamGenerate streams"):
        await import_rows(served.channel, all_rpcs()["model.StreamGenerate"], [])


async def test_the_command_reports_the_results(served: Served, tmp_path: Path) -> None:
    """The exit code is 1 when a row was refused, else 0."""
    file = tmp_path / "customers.jsonl"
    file.write_text("".join(json.dumps(row.content) + "\n" for row in customers(3)))
    arguments = ("crm.CreateCustomer", "--jsonl", str(file), "--address", served.address)
    assert await cli(*arguments) == (0, "crm.CreateCustomer: 3 done, 0 already there, 0 refused\n")
    with file.open("a") as more:
        more.write('{"name": ""}\n')
    code, output = await cli(*arguments)
    assert code == 1
    assert output.startswith("row 4: name: ")
    assert output.endswith("crm.CreateCustomer: 0 done, 3 already there, 1 refused\n")


async def test_a_grouped_query_becomes_invoices_with_lines(tmp_path: Path) -> None:
    shop = tmp_path / "shop.db"
    with closing(sqlite3.connect(shop)) as database, database:
        database.execute("CREATE TABLE sold (invoice, what, pieces, price)")
        database.execute("INSERT INTO sold VALUES (1, 'Pen', 2, 9.99), (1, 'Ink', 1, 0.10), (2, 'Ink', 3, 0.1)")
    query = """
        SELECT 'shop-' || invoice AS invoice_id, 'cu-1' AS customer_id, json_group_array(json_object(
            'description', what, 'quantity', pieces, 'unit_price',
            json_object('currency_code', 'EUR', 'amount_minor', CAST(round(price * 100) AS INTEGER)))) AS "lines:json"
        FROM sold GROUP BY invoice
    """
    settings = BillingSettings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path}/billing.db"))
    async with build_billing(settings) as servable, running(servable, settings) as served:
        arguments = ("--sqlite", str(shop), "--query", query, "--address", served.address)
        code, output = await cli("billing.CreateInvoice", *arguments)
        request = BillingService.GetInvoice.request(invoice_id="shop-1")
        invoice = (await served.channel.unary(BillingService.GetInvoice, request, deadline=Deadline.after(60))).invoice
    assert (code, output) == (0, "billing.CreateInvoice: 2 done, 0 already there, 0 refused\n")
    assert (invoice.total.amount_minor, len(invoice.lines)) == (2008, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["crm.CreateCustomer"], "either --jsonl FILE"),
        (["crm.CreateCustomer", "--sqlite", "x.db"], "either --jsonl FILE"),
        (["crm.CreateCustomer", "--jsonl", "x", "--query", "SELECT 1"], "either --jsonl FILE"),
        (["crm.CreateCustomer", "--jsonl", "x", "--tenant", "Ä"], "--tenant"),
        (["crm.CreateCustomer", "--jsonl", "x", "--key-prefix", "a b"], "--key-prefix"),
        (["crm.CreateCustomer", "--jsonl", "/nowhere", "--address", "127.0.0.1:1"], "No such file"),
        (["crm.CreateCustomr", "--jsonl", "x", "--address", "127.0.0.1:1"], "crm.CreateCustomer"),
    ],
)
def test_an_invalid_command_is_explained(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["import", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
