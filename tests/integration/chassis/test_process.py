"""A server as a process: start, shutdown and kill."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from graphmesh.billing import v1 as pb
from graphmesh.common.v1 import Money
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from grpc_health.v1 import health_pb2, health_pb2_grpc

BILLING = pb.BillingService.NAME
KEYS = (f"k{number}" for number in count())


@dataclass
class Started:
    """A billing process, and a channel to it."""

    process: asyncio.subprocess.Process
    address: str
    channel: Channel

    async def issue(self, invoice_id: str) -> None:
        price = Money(currency_code="EUR", amount_minor=100)
        line = pb.InvoiceLine(description="ink", quantity=1, unit_price=price)
        request = pb.CreateInvoiceRequest(invoice_id=invoice_id, customer_id="cu_1", lines=[line])
        headers = [("idempotency-key", next(KEYS))]
        await self.channel.unary(pb.BillingService.CreateInvoice, request, deadline=Deadline.after(60), headers=headers)

    async def balance(self) -> dict[str, tuple[int, int]]:
        """Debit and credit by account."""
        found = await self.channel.unary(
            pb.BillingService.GetTrialBalance, pb.GetTrialBalanceRequest(), deadline=Deadline.after(60)
        )
        return {row.account: (row.debit_minor, row.credit_minor) for row in found.accounts}

    async def health(self, service: str = BILLING) -> str:
        async with grpc.aio.insecure_channel(self.address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)


async def spawn(folder: Path, *arguments: str, url: str = "") -> asyncio.subprocess.Process:
    url = url or f"sqlite+aiosqlite:///{folder}/billing.db"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graphmesh_billing", *arguments),
        env={**os.environ, "GRAPHMESH_BILLING_DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def started(folder: Path, *arguments: str, url: str = "") -> AsyncIterator[Started]:
    process = await spawn(folder, *arguments, url=url)
    assert process.stdout
    try:
        first = await asyncio.wait_for(process.stdout.readline(), 60)
        assert first, "the process ended before it listened"
        address = json.loads(first)["address"]
        async with Channel(address) as channel:
            yield Started(process, address, channel)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def refusal(folder: Path, *arguments: str, url: str = "") -> tuple[int | None, str]:
    """The exit code and the output of a process that does not start."""
    process = await spawn(folder, *arguments, url=url)
    _, output = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()


async def test_server_starts_with_one_command(tmp_path: Path) -> None:
    """It creates its database, and is healthy for each of its services."""
    async with started(tmp_path) as server:
        assert (await server.health(), await server.health("")) == ("SERVING", "SERVING")
        await server.issue("in_1")
        assert await server.end(signal.SIGTERM) == 0


async def test_committed_effects_survive_a_kill(tmp_path: Path) -> None:
    """After SIGKILL during calls every confirmed invoice is stored, and the ledger balances."""
    confirmed = []

    async def keep_issuing(server: Started) -> None:
        for number in count():
            await server.issue(f"in_{number}")
            confirmed.append(f"in_{number}")

    async with started(tmp_path) as server:
        issuing = [asyncio.create_task(keep_issuing(server))]
        async with asyncio.timeout(60):
            while len(confirmed) < 20:
                await asyncio.sleep(0.01)
        await server.end(signal.SIGKILL)
        await asyncio.gather(*issuing, return_exceptions=True)
    async with started(tmp_path) as server:
        balance = await server.balance()
        for invoice_id in confirmed:
            await server.channel.unary(
                pb.BillingService.GetInvoice, pb.GetInvoiceRequest(invoice_id=invoice_id), deadline=Deadline.after(60)
            )
    assert len(confirmed) >= 20
    assert balance["receivable"][0] == balance["revenue"][1] >= 100 * len(confirmed)


@pytest.mark.parametrize(
    ("arguments", "url", "code", "text"),
    [
        (["--drain-seconds", "-1"], "", 2, "GRAPHMESH_BILLING_DRAIN_SECONDS: "),
        (["--listen", "nowhere"], "", 2, "GRAPHMESH_BILLING_LISTEN: "),
        (["--policy", '{"service": {"max_concurrency": 0}}'], "", 2, "max_concurrency"),
        (["--policy", "{"], "", 2, "policy"),
        (["--event-loop", "trio"], "", 2, "GRAPHMESH_BILLING_EVENT_LOOP: "),
        ([], "mysql://u:hunter2@h/d", 2, "GRAPHMESH_BILLING_DATABASE_URL: "),
        ([], "postgresql+psycopg://u:hunter2@127.0.0.1:1/d", 1, "database"),
        ([], "sqlite+aiosqlite:////proc/no/billing.db", 1, "/proc/no"),
    ],
)
async def test_server_that_cannot_start_reports_the_cause(
    tmp_path: Path, arguments: list[str], url: str, code: int, text: str
) -> None:
    """The exit code is 2 for a bad setting, which is named, and 1 for an unavailable resource.

    The output has neither a stack trace nor a password.
    """
    returned, output = await refusal(tmp_path, *arguments, url=url)
    assert returned == code, output
    assert text in output
    assert "Traceback" not in output
    assert "hunter2" not in output


async def test_port_is_not_shared(tmp_path: Path) -> None:
    """A second server on the same port would silently take half of the calls; it fails, and names the address."""
    async with started(tmp_path) as server:
        code, output = await refusal(tmp_path, "--listen", server.address)
    assert code == 1
    assert f"cannot listen on {server.address}" in output
    assert "Traceback" not in output


async def test_first_log_line_has_the_bound_port(tmp_path: Path) -> None:
    """The server listens only once it can serve."""
    async with started(tmp_path, "--listen", "127.0.0.1:0") as server:
        assert int(server.address.rpartition(":")[2]) > 0


async def test_call_to_a_stopped_server_is_unreachable(tmp_path: Path) -> None:
    """The error reports that nothing was sent."""
    async with started(tmp_path) as server:
        await server.end(signal.SIGTERM)
        with pytest.raises(GraphmeshError) as raised:
            await server.balance()
    assert (raised.value.reason, raised.value.may_have_happened) == ("UNREACHABLE", False)
