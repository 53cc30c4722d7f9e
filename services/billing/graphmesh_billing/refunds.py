"""Use cases of refunds: preview and make one, read and set the policy that they are checked against."""

from collections.abc import Sequence
from dataclasses import dataclass

from graphmesh_chassis.errors import NotFound, VersionMismatch
from graphmesh_contracts.money import Money

from graphmesh_billing import domain, refund_policy
from graphmesh_billing.domain import Charge, Invoice, LineAmount, LineRequest, Refund, RuleBroken
from graphmesh_billing.ids import new_id
from graphmesh_billing.ledger import Ledger
from graphmesh_billing.line_amounts import refund_lines
from graphmesh_billing.refund_policy import Broken, Consequence, RefundPolicy, Rule, Scope

POLICY_LOCK = "refund_policy"


@dataclass(frozen=True)
class RefundRequest:
    """A refund, and what the caller believes and has."""

    charge_id: str
    amount: Money
    cause: str = ""
    lines: tuple[LineRequest, ...] = ()
    expected_refunded: Money | None = None
    policy_exception: str = ""
    approval_id: str = ""


@dataclass(frozen=True)
class Decision:
    """What is true of a refund: charge and invoice as they are, the lines, and the rules that it breaks."""

    charge: Charge
    invoice: Invoice
    policy: RefundPolicy
    lines: tuple[LineAmount, ...]
    broken: tuple[Broken, ...]

    @property
    def is_denied(self) -> bool:
        return any(broken.consequence is Consequence.DENY for broken in self.broken)

    @property
    def needs_approval(self) -> bool:
        return bool(self.broken) and not self.is_denied


class RefundRefused(Exception):
    """The refund breaks rules; `decision` has them."""

    def __init__(self, decision: Decision) -> None:
        super().__init__("; ".join(broken.message for broken in decision.broken))
        self.decision = decision


async def preview(ledger: Ledger, request: RefundRequest) -> Decision:
    """Check a refund without making it. Raises NotFound."""
    charge = await ledger.charge(request.charge_id)
    invoice = await ledger.invoice(charge.invoice_id)
    return await _decide(ledger, await ledger.refund_policy(), invoice, charge, request)


async def customer_of(ledger: Ledger, charge_id: str) -> str:
    """Return the customer of a charge; empty where there is no such charge."""
    try:
        return (await ledger.invoice((await ledger.charge(charge_id)).invoice_id)).customer_id
    except NotFound:
        return ""


async def refund(ledger: Ledger, request: RefundRequest) -> tuple[Charge, Refund]:
    """Refund lines of a charge's invoice, as the tenant's policy allows, under the locks of all that it counts.

    Raises:
        NotFound: there is no such charge.
        RefundRefused: it breaks rules.
    """
    if request.approval_id:
        await ledger.lock(f"approval/{request.approval_id}")
    await ledger.lock(POLICY_LOCK, shared=True)
    policy = await ledger.refund_policy()
    charge = await ledger.charge(request.charge_id)
    if any(rule.limit and rule.limit.per is Scope.CUSTOMER for rule in policy.rules):
        await ledger.lock(f"customer/{(await ledger.invoice(charge.invoice_id)).customer_id}")
    invoice = await ledger.invoice(charge.invoice_id, for_update=True)
    charge = await ledger.charge(request.charge_id, for_update=True)
    decision = await _decide(ledger, policy, invoice, charge, request)
    if decision.is_denied or (decision.broken and not request.approval_id):
        raise RefundRefused(decision)
    made = Refund(
        refund_id=new_id("re"),
        charge_id=charge.charge_id,
        amount=request.amount,
        cause=request.cause,
        created=await ledger.now(),
        invoice_id=invoice.invoice_id,
        customer_id=invoice.customer_id,
        lines=decision.lines,
        policy_version=policy.version,
        approval_id=request.approval_id,
        policy_exception=request.policy_exception,
    )
    charge, invoice, entry = domain.refund(charge, invoice, made)
    await ledger.add_refund(made, charge, invoice, entry)
    return charge, made


async def set_policy(ledger: Ledger, rules: Sequence[Rule], expected_version: int | None) -> RefundPolicy:
    """Replace the policy. Raises VersionMismatch."""
    await ledger.lock(POLICY_LOCK)
    current = await ledger.refund_policy()
    if expected_version not in (None, current.version):
        raise VersionMismatch(
            resource="refund policy", id="refund_policy", expected=expected_version, actual=current.version
        )
    policy = RefundPolicy(tuple(rules), current.version + 1)
    await ledger.set_refund_policy(policy)
    return policy


async def _decide(
    ledger: Ledger, policy: RefundPolicy, invoice: Invoice, charge: Charge, request: RefundRequest
) -> Decision:
    """Check a refund: a broken rule of billing is the only one, since the policy's are about a possible refund."""
    try:
        _check_charge(charge, request)
        if request.approval_id and await ledger.is_approval_used(request.approval_id):
            raise RuleBroken("approval_used", f"another refund has used the approval {request.approval_id}")
        lines = refund_lines(invoice, request.lines, request.amount, charge.refundable)
    except RuleBroken as error:
        broken = Broken(error.rule, Consequence.DENY, str(error), error.subject)
        return Decision(charge, invoice, policy, (), (broken,))
    found = () if request.policy_exception else await _broken_rules(ledger, policy, invoice, charge, lines)
    return Decision(charge, invoice, policy, lines, tuple(found))


def _check_charge(charge: Charge, request: RefundRequest) -> None:
    """Raises RuleBroken: the charge is not as the request believes, or has less left."""
    domain.require_currency(request.amount, charge.amount.currency)
    expected = request.expected_refunded
    if expected is not None and expected != charge.refunded:
        message = f"{charge.refunded} of charge {charge.charge_id} are refunded, the request expects {expected}"
        raise RuleBroken("refunded_differs", message)
    if request.amount.minor > charge.refundable.minor:
        message = f"{charge.refundable} is left of charge {charge.charge_id}, the refund is over {request.amount}"
        raise RuleBroken("refund_exceeds_charge", message)


async def _broken_rules(
    ledger: Ledger, policy: RefundPolicy, invoice: Invoice, charge: Charge, lines: tuple[LineAmount, ...]
) -> list[Broken]:
    now, currency = await ledger.now(), charge.amount.currency
    found: list[Broken | None] = []
    for rule in policy.rules:
        found.append(refund_policy.check_invoice(rule, invoice, now))
        if rule.limit is None:
            continue
        since = rule.limit.since(now)
        for subject in refund_policy.subjects(rule.limit, invoice, charge, lines):
            used = await ledger.used(subject, invoice.invoice_id, currency, since)
            found.append(refund_policy.check_limit(rule, rule.limit, subject, used, currency))
    return [broken for broken in found if broken is not None]
