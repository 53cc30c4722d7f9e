"""The refund policy of a tenant: rules as values, and how a refund is checked against them.

Standard library and money only: rules know neither protobuf, nor databases, nor the chassis.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from graphmesh_contracts.money import Money, format_money

from graphmesh_billing.domain import Charge, Invoice, LineAmount


class Consequence(StrEnum):
    """What a broken rule leads to."""

    DENY = "deny"
    REQUIRE_APPROVAL = "require_approval"


class Scope(StrEnum):
    """What a limit counts the refunds of."""

    REFUND = "refund"
    LINE = "line"
    CHARGE = "charge"
    CUSTOMER = "customer"


class Calendar(StrEnum):
    """A period of the calendar."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Status(StrEnum):
    """A status of an invoice."""

    OPEN = "open"
    PAID = "paid"


@dataclass(frozen=True)
class Limit:
    """How often and how much may be refunded of one thing in one period."""

    per: Scope
    max_count: int | None = None
    max_amounts: tuple[Money, ...] = ()
    period: timedelta | None = None
    calendar: Calendar | None = None
    time_zone: str = ""

    def since(self, now: datetime) -> datetime | None:
        """The time after which refunds count, at which itself they do not; None where all do."""
        if self.period is not None:
            return now - self.period
        if self.calendar is None:
            return None
        return _begin(self.calendar, now.astimezone(ZoneInfo(self.time_zone or "UTC"))) - timedelta(microseconds=1)

    def allowed(self, currency: str) -> int | None:
        """The amount allowed, in minor units; None where the limit has none. A currency that it lacks has 0."""
        if not self.max_amounts:
            return None
        return next((amount.minor for amount in self.max_amounts if amount.currency == currency), 0)


@dataclass(frozen=True)
class Rule:
    """One rule: exactly one of `limit`, `max_age` and `statuses` is set."""

    name: str
    consequence: Consequence
    limit: Limit | None = None
    max_age: timedelta | None = None
    statuses: tuple[Status, ...] = ()


@dataclass(frozen=True)
class RefundPolicy:
    rules: tuple[Rule, ...]
    version: int = 0


DEFAULT_POLICY = RefundPolicy((Rule("no_policy", Consequence.REQUIRE_APPROVAL, Limit(Scope.REFUND, max_count=0)),))
"""The policy of a tenant that has none."""


@dataclass(frozen=True)
class Used:
    """What was refunded already within a limit."""

    count: int
    amount: int


@dataclass(frozen=True)
class Subject:
    """What a limit is checked for, and the amount of it in the refund."""

    scope: Scope
    id: str
    """The id of the line, the charge or the customer; empty for the refund itself."""
    amount: int


@dataclass(frozen=True)
class Broken:
    """A rule that a refund breaks, and the numbers that break it."""

    rule: str
    consequence: Consequence
    message: str
    subject: str = ""
    used: int | None = None
    allowed: int | None = None
    used_count: int = 0
    allowed_count: int | None = None


def subjects(limit: Limit, invoice: Invoice, charge: Charge, lines: tuple[LineAmount, ...]) -> Iterator[Subject]:
    """Yield what `limit` is checked for in a refund of these lines."""
    total = sum(line.amount for line in lines)
    match limit.per:
        case Scope.REFUND:
            yield Subject(Scope.REFUND, "", total)
        case Scope.LINE:
            yield from (Subject(Scope.LINE, line.line_id, line.amount) for line in lines)
        case Scope.CHARGE:
            yield Subject(Scope.CHARGE, charge.charge_id, total)
        case Scope.CUSTOMER:
            yield Subject(Scope.CUSTOMER, invoice.customer_id, total)


def check_limit(rule: Rule, limit: Limit, subject: Subject, used: Used, currency: str) -> Broken | None:
    """Check a refund against a limit, of which `used` is used already; None where it keeps it."""
    allowed = limit.allowed(currency)
    exceeds = allowed is not None and used.amount + subject.amount > allowed
    if not exceeds and (limit.max_count is None or used.count < limit.max_count):
        return None
    about = f"{limit.per} {subject.id}".strip()
    if exceeds and allowed is not None:
        sum_ = format_money(currency, used.amount + subject.amount)
        message = f"{sum_} would be refunded per {about}, {format_money(currency, allowed)} may be"
    else:
        message = f"{used.count + 1} refunds would be made per {about}, {limit.max_count} may be"
    amount = used.amount if allowed is not None else None
    return Broken(rule.name, rule.consequence, message, subject.id, amount, allowed, used.count, limit.max_count)


def check_invoice(rule: Rule, invoice: Invoice, now: datetime) -> Broken | None:
    """Check the age and the status of a refund's invoice; None where they keep the rule."""
    if rule.max_age is not None and now - invoice.issued > rule.max_age:
        message = f"invoice {invoice.invoice_id} was issued at {invoice.issued:%Y-%m-%d %H:%M} UTC, too long ago"
        return Broken(rule.name, rule.consequence, message, invoice.invoice_id)
    status = Status.PAID if invoice.paid else Status.OPEN
    if rule.statuses and status not in rule.statuses:
        message = f"invoice {invoice.invoice_id} is {status}"
        return Broken(rule.name, rule.consequence, message, invoice.invoice_id)
    return None


def _begin(calendar: Calendar, now: datetime) -> datetime:
    """The beginning of the period that `now` is in, in the time zone of `now`. A midnight that a change of the clocks
    skips is the first instant after it, one that it repeats is the first of both."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match calendar:
        case Calendar.WEEK:
            day -= timedelta(days=day.weekday())
        case Calendar.MONTH:
            day = day.replace(day=1)
        case Calendar.YEAR:
            day = day.replace(month=1, day=1)
    return day.astimezone(UTC)


def to_json(policy: RefundPolicy) -> list[dict[str, Any]]:
    """Return the rules as JSON, for the database."""
    return [_rule_to_json(rule) for rule in policy.rules]


def _rule_to_json(rule: Rule) -> dict[str, Any]:
    limit = rule.limit
    return {
        "name": rule.name,
        "consequence": rule.consequence,
        "max_age": _microseconds(rule.max_age),
        "statuses": list(rule.statuses),
        "limit": limit
        and {
            "per": limit.per,
            "max_count": limit.max_count,
            "max_amounts": [[amount.currency, amount.minor] for amount in limit.max_amounts],
            "period": _microseconds(limit.period),
            "calendar": limit.calendar,
            "time_zone": limit.time_zone,
        },
    }


def from_json(rules: list[Mapping[str, Any]], version: int) -> RefundPolicy:
    """Return the policy that `to_json` has made JSON of."""
    return RefundPolicy(tuple(_rule_from_json(rule) for rule in rules), version)


def _rule_from_json(rule: Mapping[str, Any]) -> Rule:
    limit = rule["limit"]
    return Rule(
        rule["name"],
        Consequence(rule["consequence"]),
        max_age=_timedelta(rule["max_age"]),
        statuses=tuple(map(Status, rule["statuses"])),
        limit=limit
        and Limit(
            Scope(limit["per"]),
            limit["max_count"],
            tuple(Money(currency, minor) for currency, minor in limit["max_amounts"]),
            _timedelta(limit["period"]),
            limit["calendar"] and Calendar(limit["calendar"]),
            limit["time_zone"],
        ),
    )


def _microseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // timedelta(microseconds=1)


def _timedelta(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)
