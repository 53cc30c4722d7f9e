"""A server as a process of its own: how it begins, drains and dies."""

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
        await self.channel.unary(pb.BillingService.CreateInvoice, request, deadline=Deadline.after(5), headers=headers)

    async def balance(self) -> dict[str, tuple[int, int]]:
        """Debit and credit by account."""
        found = await self.channel.unary(
            pb.BillingService.GetTrialBalance, pb.GetTrialBalanceRequest(), deadline=Deadline.after(5)
        )
        return {row.account: (row.debit_minor, row.credit_minor) for row in found.accounts}

    async def health(self, service: str = BILLING) -> str:
        async with grpc.aio.insecure_channel(self.address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 10)


async def spawned(folder: Path, *arguments: str, url: str = "") -> asyncio.subprocess.Process:
    url = url or f"sqlite+aiosqlite:///{folder}/billing.db"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "graphmesh_billing", *arguments),
        env={**os.environ, "GRAPHMESH_BILLING_DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def started(folder: Path, *arguments: str, url: str = "") -> AsyncIterator[Started]:
    process = await spawned(folder, *arguments, url=url)
    assert process.stdout
    try:
        first = await asyncio.wait_for(process.stdout.readline(), 30)
        assert first, "it ended before it listened"
        address = json.loads(first)["address"]
        async with Channel(address) as channel:
            yield Started(process, address, channel)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def refusal(folder: Path, *arguments: str, url: str = "") -> tuple[int | None, str]:
    """The exit code and the words of a process that does not start."""
    process = await spawned(folder, *arguments, url=url)
    _, words = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, words.decode()


async def test_it_starts_alone_and_serves(tmp_path: Path) -> None:
    """One command, a new database, healthy for each of its services."""
    async with started(tmp_path) as server:
        assert (await server.health(), await server.health("")) == ("SERVING", "SERVING")
        await server.issue("in_1")
        assert await server.end(signal.SIGTERM) == 0


async def test_what_is_committed_survives_a_kill(tmp_path: Path) -> None:
    """SIGKILL in the middle of work: whatever was answered is there afterwards, and the books balance."""
    answered = []

    async def keep_issuing(server: Started) -> None:
        for number in count():
            await server.issue(f"in_{number}")
            answered.append(f"in_{number}")

    async with started(tmp_path) as server:
        issuing = [asyncio.create_task(keep_issuing(server))]
        await asyncio.sleep(0.5)
        await server.end(signal.SIGKILL)
        await asyncio.gather(*issuing, return_exceptions=True)
    async with started(tmp_path) as server:
        balance = await server.balance()
        for invoice_id in answered:
            await server.channel.unary(
                pb.BillingService.GetInvoice, pb.GetInvoiceRequest(invoice_id=invoice_id), deadline=Deadline.after(5)
            )
    assert len(answered) > 0
    assert balance["receivable"][0] == balance["revenue"][1] >= 100 * len(answered)


@pytest.mark.parametrize(
    ("arguments", "url", "code", "words"),
    [
        (["--drain-seconds", "-1"], "", 2, "drain_seconds"),
        (["--listen", "nowhere"], "", 2, "listen"),
        (["--policy", '{"service": {"max_concurrency": 0}}'], "", 2, "max_concurrency"),
        (["--policy", "{"], "", 2, "policy"),
        ([], "mysql://u:hunter2@h/d", 2, "database_url"),
        ([], "postgresql+psycopg://u:hunter2@127.0.0.1:1/d", 1, "database"),
        ([], "sqlite+aiosqlite:////proc/no/billing.db", 1, "/proc/no"),
    ],
)
async def test_what_cannot_start_says_why(
    tmp_path: Path, arguments: list[str], url: str, code: int, words: str
) -> None:
    """2 for a bad setting, which is named, 1 for what is not there; no stack trace, and no password (H5)."""
    returned, said = await refusal(tmp_path, *arguments, url=url)
    assert returned == code, said
    assert words in said
    assert "Traceback" not in said
    assert "hunter2" not in said


async def test_a_port_is_not_shared(tmp_path: Path) -> None:
    """A second server on the same port would silently take half of the calls; it is refused by address."""
    async with started(tmp_path) as server:
        code, said = await refusal(tmp_path, "--listen", server.address)
    assert code == 1
    assert f"cannot listen on {server.address}" in said
    assert "Traceback" not in said


async def test_nothing_is_listened_on_before_it_can_serve(tmp_path: Path) -> None:
    """The line `listening` is the first, and names the real port."""
    async with started(tmp_path, "--listen", "127.0.0.1:0") as server:
        assert int(server.address.rpartition(":")[2]) > 0


async def test_a_call_to_nobody_is_an_error_of_ours(tmp_path: Path) -> None:
    """A channel to a server that is gone says so, and that nothing was sent."""
    async with started(tmp_path) as server:
        await server.end(signal.SIGTERM)
        with pytest.raises(GraphmeshError) as raised:
            await server.balance()
    assert (raised.value.reason, raised.value.may_have_happened) == ("UNREACHABLE", False)
