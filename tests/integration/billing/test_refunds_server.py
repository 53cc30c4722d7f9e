"""Refunds over a real channel: beliefs, policies, approvals and refusals, on SQLite and PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.billing import v1 as pb
from graphmesh_billing import lanes
from graphmesh_billing.tables import charges, entries, postings, refunds
from graphmesh_chassis.calls import fingerprint
from graphmesh_chassis.database import open_database
from graphmesh_chassis.errors import (
    ApprovalMismatch,
    ApprovalRequired,
    ConcurrencyLimit,
    DeadlineExceeded,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    RuleViolated,
    ScopeMissing,
    VersionMismatch,
)

from tests.integration.billing.test_billing_server import Billing, BillingClient, billing, euros, invoice, serving

__all__ = ["billing"]

DENY, APPROVAL = pb.RefundRuleEffect.REFUND_RULE_EFFECT_DENY, pb.RefundRuleEffect.REFUND_RULE_EFFECT_REQUIRE_APPROVAL
CHARGE, CUSTOMER = pb.RefundLimitScope.REFUND_LIMIT_SCOPE_CHARGE, pb.RefundLimitScope.REFUND_LIMIT_SCOPE_CUSTOMER
BOTTLE = [pb.LineSelection(line_id="1", quantity=1)]


def days(count: int) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(days=count))
    return duration


def limit(name: str, effect: pb.RefundRuleEffect.ValueType, **fields: Any) -> pb.RefundRule:
    return pb.RefundRule(name=name, effect=effect, limit=pb.RefundLimit(**fields))


async def test_a_tenant_without_a_policy_needs_approvals(billing: BillingClient) -> None:
    """A refusal is an outcome of its key: a policy that is set later does not change it."""
    charge_id = await billing.sold()
    with pytest.raises(ApprovalRequired) as refused:
        await billing.refund(charge_id, 1000, "k", lines=BOTTLE)
    assert refused.value.data["rule"] == "no_policy"
    assert (await billing.set_rules()).version == 1
    with pytest.raises(ApprovalRequired):
        await billing.refund(charge_id, 1000, "k", lines=BOTTLE)
    made = await billing.refund(charge_id, 1000, "k2", lines=BOTTLE)
    assert (made.refund.policy_version, made.refund.invoice_id) == (1, "in_1")
    with pytest.raises(IdempotencyKeyReused):
        await billing.refund(charge_id, 999, "k2", lines=BOTTLE)


async def test_refusal_states_what_is_true(billing: BillingClient) -> None:
    """As a message of the contract, also in the stored outcome."""
    charge_id = await billing.sold()
    await billing.set_rules()
    await billing.refund(charge_id, 1000, lines=BOTTLE, expected_refunded=euros(0))
    for _ in range(2):
        with pytest.raises(RuleViolated) as refused:
            await billing.refund(charge_id, 1000, "k", lines=BOTTLE, expected_refunded=euros(0))
        [detail] = refused.value.details
        assert isinstance(detail, pb.RefundRefusal)
        assert [broken.rule for broken in detail.broken] == [refused.value.data["rule"]] == ["refunded_differs"]
        assert (detail.charge.refunded, detail.refundable) == (euros(1000), euros(1000))
        assert [(line.line_id, line.refunded, line.returned_quantity) for line in detail.lines] == [
            ("1", euros(1000), 1)
        ]


WRONG_BELIEFS: list[tuple[int, dict[str, Any], str]] = [
    (2001, {}, "refund_exceeds_charge"),
    (1000, {"lines": [pb.LineSelection(line_id="9")]}, "unknown_line"),
    (1000, {"lines": [pb.LineSelection(line_id="1", quantity=3)]}, "quantity_exceeds_line"),
    (999, {"lines": BOTTLE}, "lines_differ_from_amount"),
    (1001, {"lines": [pb.LineSelection(line_id="1", quantity=1, amount=euros(1001))]}, "amount_exceeds_items"),
    (1, {"expected_refunded": euros(1)}, "refunded_differs"),
]


async def test_beliefs_that_are_wrong_are_refused(billing: BillingClient) -> None:
    charge_id = await billing.sold()
    await billing.set_rules()
    for minor, fields, rule in WRONG_BELIEFS:
        with pytest.raises(RuleViolated) as refused:
            await billing.refund(charge_id, minor, **fields)
        assert refused.value.data["rule"] == rule
    assert (await billing.balances())["cash"] == (2000, 0)


async def test_amounts_count_together_towards_an_approval(billing: BillingClient) -> None:
    """An approval covers one refund, and nothing else is refunded with it."""
    charge_id = await billing.sold()
    await billing.set_rules(limit("consent", APPROVAL, per=CUSTOMER, max_amounts=[euros(1000)], period=days(30)))
    await billing.refund(charge_id, 600)
    with pytest.raises(ApprovalRequired, match=r"11\.00 EUR would be refunded per customer cu_1, 10\.00 EUR may be"):
        await billing.refund(charge_id, 500)
    request = pb.RefundRequest(charge_id=charge_id, amount=euros(500), cause="broken")
    made = await billing(Billing.Refund, request, "k", approval="apr_1")
    assert made.refund.approval_id == "apr_1"
    with pytest.raises(RuleViolated, match="has used the approval"):
        await billing(Billing.Refund, request, "k2", approval="apr_1")
    assert (await billing(Billing.Refund, request, "k", approval="apr_1")) == made


async def test_an_exception_of_the_policy_has_a_scope_of_its_own(billing: BillingClient) -> None:
    """It lifts rules of the policy, and none of billing."""
    charge_id = await billing.sold()
    await billing.set_rules(limit("never", DENY, per=CHARGE, max_count=0))
    request = pb.RefundRequest(charge_id=charge_id, amount=euros(500), cause="broken", policy_exception="goodwill")
    with pytest.raises(ScopeMissing, match=r"billing\.refund_exception"):
        await billing(Billing.Refund, request, scopes="billing.refund")
    made = await billing(Billing.Refund, request, scopes="billing.refund billing.refund_exception")
    assert made.refund.policy_exception == "goodwill"
    request.amount.amount_minor = 1501
    with pytest.raises(RuleViolated, match="is left of charge"):
        await billing(Billing.Refund, request)


async def test_statuses_and_age_of_the_invoice(billing: BillingClient) -> None:
    """After a charge-back the invoice is open again, and what is left can be refunded by an exception only."""
    paid = pb.RefundInvoiceStatuses(statuses=[pb.InvoiceStatus.INVOICE_STATUS_PAID])
    await billing.set_rules(
        pb.RefundRule(name="paid", effect=DENY, invoice=paid),
        pb.RefundRule(name="in_time", effect=DENY, max_age=days(30)),
    )
    old = await billing.sold("in_2", issue_time=Timestamp(seconds=1_600_000_000))
    charge_id = await billing.sold()
    back = await billing(Billing.RecordChargeback, pb.RecordChargebackRequest(charge_id=charge_id, amount=euros(500)))
    assert (back.charge.charged_back, back.outstanding) == (euros(500), euros(500))
    for broken, rule in ((old, "in_time"), (charge_id, "paid")):
        with pytest.raises(RuleViolated) as refused:
            await billing.refund(broken, 100)
        assert refused.value.data["rule"] == rule
    with pytest.raises(RuleViolated, match=r"15\.00 EUR is left"):
        await billing.refund(charge_id, 1501)


async def test_preview_says_what_refund_would(billing: BillingClient) -> None:
    charge_id = await billing.sold()
    await billing.set_rules(
        limit("second", APPROVAL, per=CHARGE, max_count=1), limit("sum", DENY, per=CHARGE, max_amounts=[euros(1500)])
    )

    async def preview(minor: int, **fields: Any) -> pb.PreviewRefundResponse:
        request = pb.PreviewRefundRequest(charge_id=charge_id, amount=euros(minor), **fields)
        return await billing(Billing.PreviewRefund, request, "")

    first = await preview(1000, lines=BOTTLE)
    assert (first.allowed, first.needs_approval, first.lines[0].amount) == (True, False, euros(1000))
    await billing.refund(charge_id, 1000, lines=BOTTLE)
    second = await preview(500)
    assert (second.allowed, second.needs_approval, second.refundable) == (True, True, euros(1000))
    third = await preview(501)
    assert (third.allowed, third.needs_approval) == (False, False)
    found = {broken.rule: (broken.used_minor, broken.allowed_minor, broken.used_count) for broken in third.broken}
    assert found == {"second": (0, 0, 1), "sum": (1000, 1500, 1)}
    assert [broken.rule for broken in (await preview(2000)).broken] == ["refund_exceeds_charge"]
    with pytest.raises(NotFound):
        await billing(Billing.PreviewRefund, pb.PreviewRefundRequest(charge_id="ch_9", amount=euros(1)), "")


LIMIT = "policy.rules[0].limit"
INVALID_RULES = [
    (limit("a", DENY, per=CHARGE), LIMIT),
    (limit("a", DENY, per=CHARGE, max_count=1, period=days(1), calendar_period=1), LIMIT),
    (limit("a", DENY, per=CHARGE, max_count=1, time_zone="UTC"), LIMIT),
    (limit("a", DENY, per=CHARGE, max_count=1, calendar_period=1, time_zone="../x"), f"{LIMIT}.time_zone"),
    (limit("a", DENY, per=CHARGE, max_count=1, calendar_period=1, time_zone="Europe"), f"{LIMIT}.time_zone"),
    (limit("a", DENY, per=CHARGE, max_amounts=[euros(-1)]), f"{LIMIT}.max_amounts[0]"),
    (limit("a", DENY, per=CHARGE, max_amounts=[euros(1), euros(2)]), LIMIT),
    (limit("a", DENY, per=CHARGE, max_amounts=[{"currency_code": "XXX"}]), f"{LIMIT}.max_amounts[0].currency_code"),
    (pb.RefundRule(name="a", effect=DENY), "policy.rules[0].condition"),
    (pb.RefundRule(name="A", effect=DENY, max_age=days(1)), "policy.rules[0].name"),
    (pb.RefundRule(name="a", max_age=days(0)), "policy.rules[0].effect"),
]


async def test_invalid_policies_are_refused(billing: BillingClient) -> None:
    """With the name of the field; the stored policy stays as it is."""
    for rule, field in INVALID_RULES:
        with pytest.raises(InvalidRequest) as refused:
            await billing.set_rules(rule)
        assert field in {violation.field for violation in refused.value.violations}
    stored = (await billing(Billing.GetRefundPolicy, pb.GetRefundPolicyRequest(), "")).policy
    assert (stored.version, [rule.name for rule in stored.rules]) == (0, ["no_policy"])


async def test_policy_is_replaced_by_version(billing: BillingClient) -> None:
    rules = [limit("a", DENY, per=CUSTOMER, max_count=1, calendar_period=3, time_zone="Europe/Berlin")]
    request = pb.SetRefundPolicyRequest(policy=pb.RefundPolicy(rules=rules), expected_version=0)
    stored = (await billing(Billing.SetRefundPolicy, request)).policy
    assert (list(stored.rules), stored.version) == (rules, 1)
    with pytest.raises(VersionMismatch):
        await billing(Billing.SetRefundPolicy, request)


async def test_invoices_have_taxes_and_statements(billing: BillingClient) -> None:
    """Pages of a statement continue the balance."""
    lines = [
        pb.InvoiceLine(
            description="ink", quantity=3, unit_price=euros(333), line_id="ink", tax_name="VAT", tax_rate_ppm=190_000
        ),
        pb.InvoiceLine(description="book", quantity=1, unit_price=euros(1001), tax_name="VAT", tax_rate_ppm=70_000),
    ]
    request = pb.CreateInvoiceRequest(invoice_id="in_1", customer_id="cu_1", lines=lines)
    issued = (await billing(Billing.CreateInvoice, request)).invoice
    assert [(tax.tax_rate_ppm, tax.net, tax.tax) for tax in issued.tax_lines] == [
        (190_000, euros(999), euros(190)),
        (70_000, euros(1001), euros(70)),
    ]
    assert (issued.total, [line.line_id for line in issued.lines]) == (euros(2260), ["ink", "2"])
    note = await billing(
        Billing.CreateCreditNote,
        pb.CreateCreditNoteRequest(invoice_id="in_1", lines=[pb.LineSelection(line_id="2")], cause="late"),
    )
    assert (note.credit_note.amount, note.outstanding) == (euros(1071), euros(1189))
    read = await billing(Billing.GetInvoice, pb.GetInvoiceRequest(invoice_id="in_1"), "")
    assert (read.invoice.credited, list(read.credit_notes)) == (euros(1071), [note.credit_note])
    await billing.charge(1189)
    balances, token = [], ""
    while True:
        query = pb.GetStatementRequest(customer_id="cu_1", currency_code="EUR", page_size=2, page_token=token)
        page = await billing(Billing.GetStatement, query, "")
        assert (page.opening_balance_minor, page.closing_balance_minor) == (0, 0)
        balances += [(entry.reference, entry.balance_minor) for entry in page.entries]
        if not (token := page.next_page_token):
            break
    assert [balance for _, balance in balances] == [2260, 1189, 0]
    assert [reference for reference, _ in balances[:2]] == ["in_1", note.credit_note.credit_note_id]
    assert (await billing.balances())["tax"] == (70, 260)


async def test_fields_that_the_service_sets_are_refused(billing: BillingClient) -> None:
    request = invoice()
    request.lines[0].amount.CopyFrom(euros(5))
    with pytest.raises(InvalidRequest, match="which the service sets"):
        await billing(Billing.CreateInvoice, request)


async def test_an_approval_is_of_one_request(billing: BillingClient) -> None:
    """The service compares what it is asked with what was approved, whoever sends the id of the approval."""
    charge_id = await billing.sold()
    approved = pb.RefundRequest(charge_id=charge_id, amount=euros(1000), cause="broken", lines=BOTTLE)
    digest = fingerprint(Billing.Refund.path, approved).hex()
    larger = pb.RefundRequest(charge_id=charge_id, amount=euros(2000), cause="broken")
    other_line = pb.RefundRequest(charge_id=charge_id, amount=euros(1000), cause="broken")
    other_charge = pb.RefundRequest(charge_id="ch_9", amount=euros(1000), cause="broken", lines=BOTTLE)
    for request in (larger, other_line, other_charge):
        with pytest.raises(ApprovalMismatch, match=r"The approval apr_1 is of another call of billing\.Refund"):
            await billing(Billing.Refund, request, "k", approval="apr_1", **{"approval-digest": digest})
    with pytest.raises(ApprovalMismatch):
        await billing(Billing.Refund, approved, "k", approval="apr_1", **{"approval-digest": ""})
    made = await billing(Billing.Refund, approved, "k", approval="apr_1", **{"approval-digest": digest})
    assert (made.refund.approval_id, (await billing.balances())["refunds"]) == ("apr_1", (1000, 0))


async def test_a_contended_charge_does_not_stop_other_customers(postgres_url: str) -> None:
    """Many refunds of one charge wait for its lock. Those of another customer are made meanwhile."""
    async with serving(postgres_url) as billing, open_database(postgres_url) as database:
        await billing.set_rules()
        hot = await billing.sold()
        other = invoice("in_2")
        other.customer_id = "cu_2"
        await billing(Billing.CreateInvoice, other)
        charge_id = (await billing.charge(2000, invoice_id="in_2")).charge.charge_id
        async with database.transaction() as connection:
            await connection.execute(sa.select(charges).where(charges.c.charge_id == hot).with_for_update())
            blocked = [asyncio.create_task(billing.refund(hot, 1)) for _ in range(40)]
            waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not (await connection.execute(waiting)).scalar_one():
                await asyncio.sleep(0.01)
            await billing.refund(charge_id, 1000)
            ended = sum(task.done() for task in blocked)
        outcomes = await asyncio.gather(*blocked, return_exceptions=True)
    assert ended <= 4 * lanes.MAX_ACTIVE  # it has not waited until all others had failed
    late = DeadlineExceeded | ConcurrencyLimit  # where the other refund has taken seconds
    assert all(isinstance(outcome, pb.RefundResponse | late) for outcome in outcomes)


async def test_calls_of_one_charge_are_made_one_after_the_other(billing: BillingClient) -> None:
    """More at a time than a lane has places; none is refused."""
    await billing.set_rules()
    charge_id = await billing.sold()
    back = pb.RecordChargebackRequest(charge_id=charge_id, amount=euros(1))
    calls = [billing.refund(charge_id, 1) for _ in range(6)]
    await asyncio.gather(*calls, *(billing(Billing.RecordChargeback, back) for _ in range(6)))
    assert (await billing.balances())["cash"] == (2000, 12)


async def test_sums_beyond_64_bits_are_refused(billing: BillingClient, database_url: str) -> None:
    """A tenant gets there with ten thousand invoices of the largest amount. It must not look like a broken service."""
    await billing.set_rules(limit("sum", DENY, per=CUSTOMER, max_amounts=[euros(10)]))
    charge_id = await billing.sold()
    async with open_database(database_url) as database, database.transaction() as connection:
        common = {"tenant": "default", "currency": "EUR", "amount": 2**62, "created": datetime.now(UTC)}
        large = {**common, "invoice_id": "in_9", "customer_id": "cu_1"}
        entry = {**large, "kind": "invoice", "reference": "in_9"}
        await connection.execute(sa.insert(entries), [entry] * 3)
        posting = {**common, "debit": "receivable", "credit": "revenue", "reference": "in_9"}
        await connection.execute(sa.insert(postings), [posting] * 3)
        refund = {**large, "charge_id": "ch_9", "cause": "x", "policy_version": 1, "policy_exception": ""}
        await connection.execute(sa.insert(refunds), [{**refund, "refund_id": f"re_{at}"} for at in range(3)])
    with pytest.raises(RuleViolated, match="a sum of amounts exceeds"):
        await billing.balances()
    with pytest.raises(RuleViolated, match="a sum of amounts exceeds"):
        await billing(Billing.GetStatement, pb.GetStatementRequest(customer_id="cu_1", currency_code="EUR"), "")
    with pytest.raises(RuleViolated) as refused:
        await billing.refund(charge_id, 1)
    [detail] = refused.value.details
    assert isinstance(detail, pb.RefundRefusal)
    assert detail.broken[0].used_minor == 2**63 - 1
