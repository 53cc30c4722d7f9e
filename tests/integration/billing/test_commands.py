"""`graphmesh statement` and `graphmesh policy` against running services."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.billing import v1 as pb
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.testing import running
from graphmesh_cli.app import app
from graphmesh_ticketing.__main__ import build as build_ticketing
from graphmesh_ticketing.settings import Settings as TicketingSettings

from tests.integration.billing.test_billing_server import Billing, BillingClient, invoice, serving

REFUND_POLICY = Path(__file__).parents[3] / "deploy/sample/refund_policy.jsonl"


@pytest_asyncio.fixture
async def billing(tmp_path: Path) -> AsyncIterator[BillingClient]:
    async with serving(f"sqlite+aiosqlite:///{tmp_path}/billing.db") as billing:
        yield billing


async def command(*words: str) -> int:
    """Run a command in a thread, since it has an event loop of its own, and return its exit code."""

    def run() -> Any:
        with pytest.raises(SystemExit) as ended:
            app(words)
        return ended.value.code

    return int(await asyncio.to_thread(run) or 0)


async def test_shows_a_statement_as_a_locale_writes_it(
    billing: BillingClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Days are those of the time zone; the balance before the period is that of the entries before."""
    await billing(Billing.CreateInvoice, invoice("in_1", price=61728, issue_time=Timestamp(seconds=1_790_812_799)))
    await billing(Billing.CreateInvoice, invoice("in_2", issue_time=Timestamp(seconds=1_790_812_800)))
    await billing.charge(123456)
    target = ("--currency", "EUR", "--address", billing.served.address)
    capsys.readouterr()
    assert await command("statement", "cu_1", *target, "--locale", "de", "--since", "2026-10-01") == 0
    shown = capsys.readouterr()
    assert ["in_1 " in shown.out, "in_2 " in shown.out] == [True, True]  # in_1 by its charge
    entries = [line.split() for line in shown.out.splitlines() if line.startswith("20") and "[info" not in line]
    assert [words[2] for words in entries] == ["invoice", "charge"]
    assert "1.254,56\N{NO-BREAK SPACE}€" in shown.out
    assert "balance before: 1.234,56\N{NO-BREAK SPACE}€; after: 20,00\N{NO-BREAK SPACE}€" in shown.err
    berlin = ("--since", "2026-10-01", "--until", "2026-10-01", "--time-zone", "Europe/Berlin")
    assert await command("statement", "cu_1", *target, *berlin, "--json") == 0
    shown = capsys.readouterr()
    found = [json.loads(line) for line in shown.out.splitlines() if line.startswith("{")]
    assert [entry["reference"] for entry in found] == ["in_1", "in_2"]
    assert "after: 1254.56 EUR" in shown.err
    assert await command("statement", "cu_9", *target) == 0
    assert "no entries" in capsys.readouterr().out


MISTAKES = [
    (("--currency", "EUR", "--locale", "klingon"), "'klingon' is not a known locale"),
    (("--currency", "EURO"), "'EURO' is not a currency with a minor unit of ISO 4217"),
    (("--currency", "EUR", "--since", "yesterday"), "yesterday must be a day, such as 2026-11-30"),
    (("--currency", "EUR", "--until", "9999-12-31"), "9999-12-31 must be a day"),
    (("--currency", "EUR", "--time-zone", "Mars/Base"), "Mars/Base is not the IANA name of a time zone"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES, ids=[options[-1] for options, _ in MISTAKES])
async def test_mistakes_are_named(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command("statement", "cu_1", *options) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", "").split())


async def test_policies_are_shown_and_set(
    billing: BillingClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What show prints is what set reads; its version protects a change that was made meanwhile."""
    target = ("--address", billing.served.address)
    assert await command("policy", "set", "refunds", str(REFUND_POLICY), *target) == 0
    assert await command("policy", "show", "refunds", *target) == 0
    shown = capsys.readouterr().out
    assert "the policy for refunds has version 1" in shown
    policy = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])
    assert (policy["version"], policy["rules"][0]["name"]) == ("1", "in_time")
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    assert await command("policy", "set", "refunds", str(file), *target) == 0
    assert await command("policy", "set", "refunds", str(file), *target) == 1
    assert "VERSION_MISMATCH" in capsys.readouterr().err
    for content, message in (
        ("{", "is no policy"),
        ('{"rule": []}', 'no field named "rule"'),
        ("[]", "must be a JSON object"),
    ):
        file.write_text(content)
        assert await command("policy", "set", "refunds", str(file), *target) == 2
        assert message in " ".join(capsys.readouterr().err.replace("│", "").split())


async def test_ticket_policies_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = TicketingSettings(database_url=SecretUrl(f"sqlite+aiosqlite:///{tmp_path}/ticketing.db"))
    async with build_ticketing(settings) as servable, running(servable, settings) as served:
        assert await command("policy", "show", "tickets", "--json", "--address", served.address) == 0
        shown = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("{"))
        file = tmp_path / "policy.json"
        file.write_text(shown)
        assert await command("policy", "set", "tickets", str(file), "--json", "--address", served.address) == 0
        assert '"version": "1"' in capsys.readouterr().out


async def test_money_is_shown_by_iso_4217(billing: BillingClient, capsys: pytest.CaptureFixture[str]) -> None:
    """The contract of the service knows minor units; no currency of the statement is shown with others' places."""
    line = pb.InvoiceLine(description="ink", quantity=1)
    for currency, minor in (("JPY", 58), ("KWD", 1250), ("CLF", 12345)):
        line.unit_price.currency_code, line.unit_price.amount_minor = currency, minor
        await billing(Billing.CreateInvoice, pb.CreateInvoiceRequest(customer_id="cu_1", lines=[line]))
        options = ("--currency", currency, "--locale", "en", "--address", billing.served.address)
        assert await command("statement", "cu_1", *options) == 0
    shown = capsys.readouterr().err
    assert [text in shown for text in ("after: ¥58\n", "after: KWD1.250", "1.2345")] == [True] * 3
