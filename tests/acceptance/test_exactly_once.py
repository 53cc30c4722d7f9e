"""An effect happens once, however often its call is repeated, also when the service dies."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from graphmesh.billing.v1 import (
    BillingService,
    ChargeRequest,
    ChargeResponse,
    CreateInvoiceRequest,
    GetInvoiceRequest,
    InvoiceLine,
)
from graphmesh_chassis.errors import IdempotencyKeyReused

from tests.acceptance.local_mesh import MIRA, LocalMesh, eur, retry_until_answered, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

REPEATS = 1_000
CHARGES = 200


async def invoice(mesh: LocalMesh, invoice_id: str, total: int) -> None:
    lines = [InvoiceLine(description="Everything", quantity=1, unit_price=eur(total))]
    request = CreateInvoiceRequest(invoice_id=invoice_id, customer_id=MIRA, lines=lines)
    await mesh.call(BillingService.CreateInvoice, request)


async def charge(mesh: LocalMesh, invoice_id: str, amount: int, key: str) -> ChargeResponse:
    """Charge, repeating the call with the same key until it is answered."""
    request = ChargeRequest(invoice_id=invoice_id, amount=eur(amount))
    return await retry_until_answered(partial(mesh.call, BillingService.Charge, request, key=key), timeout=60)


async def charged(mesh: LocalMesh, invoice_id: str) -> tuple[list[str], int]:
    """Return the charges of an invoice, and its outstanding amount."""
    found = await mesh.call(BillingService.GetInvoice, GetInvoiceRequest(invoice_id=invoice_id))
    return list(found.invoice.charge_ids), found.invoice.outstanding.amount_minor


async def test_a_thousand_concurrent_repeats(mesh: LocalMesh) -> None:
    """The ledger has one charge, and every caller gets the same response, byte for byte."""
    await invoice(mesh, "INV-REPEATED", 10_00)
    answers = await asyncio.gather(*(charge(mesh, "INV-REPEATED", 4_00, "storm") for _ in range(REPEATS)))
    [charge_id], outstanding = await charged(mesh, "INV-REPEATED")
    assert {answer.SerializeToString(deterministic=True) for answer in answers} == {
        answers[0].SerializeToString(deterministic=True)
    }
    assert answers[0].charge.charge_id == charge_id
    assert outstanding == 6_00
    assert await mesh.is_balanced()


async def test_a_key_identifies_one_request(mesh: LocalMesh) -> None:
    """The same key with another amount is refused, and no charge is made."""
    await invoice(mesh, "INV-REUSED", 10_00)
    await charge(mesh, "INV-REUSED", 4_00, "reused")
    with pytest.raises(IdempotencyKeyReused) as refused:
        await charge(mesh, "INV-REUSED", 5_00, "reused")
    assert refused.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert (await charged(mesh, "INV-REUSED"))[1] == 6_00


async def test_billing_dies_during_calls(killable_mesh: LocalMesh) -> None:
    """Callers repeat with the same keys until they are answered: each charge is made once, and the books balance.
    Repeats of calls that were answered before the death get the same response after it."""
    amounts = [100 + number for number in range(CHARGES)]
    await invoice(killable_mesh, "INV-STORM", sum(amounts))

    def begin(some: Sequence[int]) -> list[asyncio.Task[ChargeResponse]]:
        return [asyncio.create_task(charge(killable_mesh, "INV-STORM", one, f"storm-{one}")) for one in some]

    callers = begin(amounts[: CHARGES // 2])
    await wait_until(lambda: sum(caller.done() for caller in callers) >= CHARGES // 10)
    with killable_mesh.writes_blocked("billing"):
        callers += begin(amounts[CHARGES // 2 :])
        await asyncio.sleep(0.2)  # most of them are in progress in billing then
        await killable_mesh.kill("billing")
    assert not all(caller.done() for caller in callers)
    await killable_mesh.running.restart("billing")
    answers = await asyncio.gather(*callers)
    again = await asyncio.gather(*(charge(killable_mesh, "INV-STORM", amount, f"storm-{amount}") for amount in amounts))
    charge_ids, outstanding = await charged(killable_mesh, "INV-STORM")
    assert [answer.charge.amount.amount_minor for answer in answers] == amounts
    assert again == answers
    assert sorted(charge_ids) == sorted(answer.charge.charge_id for answer in answers)
    assert outstanding == 0
    assert await killable_mesh.is_balanced()
