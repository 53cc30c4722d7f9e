"""An effect happens once, however often and in whatever circumstances it is asked for (E2, C3)."""

import asyncio
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

from tests.acceptance.shop import MIRA, OwnShop, answered, eur, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

REPEATS = 1_000
CHARGES = 200


async def invoice(shop: OwnShop, invoice_id: str, total: int) -> None:
    lines = [InvoiceLine(description="Everything", quantity=1, unit_price=eur(total))]
    request = CreateInvoiceRequest(invoice_id=invoice_id, customer_id=MIRA, lines=lines)
    await shop.tell(BillingService.CreateInvoice, request)


async def charge(shop: OwnShop, invoice_id: str, amount: int, key: str) -> ChargeResponse:
    """The charge, asked for with the same key until there is an answer."""
    request = ChargeRequest(invoice_id=invoice_id, amount=eur(amount))
    return await answered(partial(shop.tell, BillingService.Charge, request, key=key), within=60)


async def charged(shop: OwnShop, invoice_id: str) -> tuple[list[str], int]:
    """The charges of an invoice in the ledger, and what is still to be paid."""
    found = await shop.tell(BillingService.GetInvoice, GetInvoiceRequest(invoice_id=invoice_id))
    return list(found.invoice.charge_ids), found.invoice.outstanding.amount_minor


async def test_a_thousand_repeats_at_once(shop: OwnShop) -> None:
    """One charge in the ledger, and every caller gets its response, the same bytes."""
    await invoice(shop, "INV-REPEATED", 10_00)
    answers = await asyncio.gather(*(charge(shop, "INV-REPEATED", 4_00, "storm") for _ in range(REPEATS)))
    [charge_id], outstanding = await charged(shop, "INV-REPEATED")
    assert {answer.SerializeToString(deterministic=True) for answer in answers} == {
        answers[0].SerializeToString(deterministic=True)
    }
    assert answers[0].charge.charge_id == charge_id
    assert outstanding == 6_00
    assert await shop.balanced()


async def test_a_key_stands_for_one_request(shop: OwnShop) -> None:
    """The same key with another amount is refused, and nothing is charged."""
    await invoice(shop, "INV-REUSED", 10_00)
    await charge(shop, "INV-REUSED", 4_00, "reused")
    with pytest.raises(IdempotencyKeyReused) as refused:
        await charge(shop, "INV-REUSED", 5_00, "reused")
    assert refused.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert (await charged(shop, "INV-REUSED"))[1] == 6_00


async def test_billing_is_killed_in_the_middle(fragile: OwnShop) -> None:
    """Callers repeat with the same keys until they are answered: each charge is there once, and the books balance. What
    was answered before the death is answered the same after it."""
    amounts = [100 + number for number in range(CHARGES)]
    await invoice(fragile, "INV-STORM", sum(amounts))
    callers = [asyncio.create_task(charge(fragile, "INV-STORM", amount, f"storm-{amount}")) for amount in amounts]
    await until(lambda: sum(caller.done() for caller in callers) >= CHARGES // 10)
    await fragile.kill("billing")
    assert not all(caller.done() for caller in callers)
    await fragile.running.revive("billing")
    answers = await asyncio.gather(*callers)
    again = await asyncio.gather(*(charge(fragile, "INV-STORM", amount, f"storm-{amount}") for amount in amounts))
    charge_ids, outstanding = await charged(fragile, "INV-STORM")
    assert [answer.charge.amount.amount_minor for answer in answers] == amounts
    assert again == answers
    assert sorted(charge_ids) == sorted(answer.charge.charge_id for answer in answers)
    assert outstanding == 0
    assert await fragile.balanced()
