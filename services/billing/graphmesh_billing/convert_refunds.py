"""Converts between protobuf messages and refund policies, requests for refunds and their refusals."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from zoneinfo import ZoneInfo

from google.protobuf.duration_pb2 import Duration
from graphmesh.billing import v1 as pb
from graphmesh_chassis.errors import ApprovalRequired, FieldViolation, InvalidRequest, RuleViolated
from graphmesh_contracts.money import EXPONENTS

from graphmesh_billing.convert import MAX_SUM, charge_message, line_amount_messages, line_message, line_requests, money
from graphmesh_billing.convert import money_message as to_message
from graphmesh_billing.refund_policy import (
    Broken,
    Calendar,
    Consequence,
    Limit,
    RefundPolicy,
    Rule,
    Scope,
    Status,
)
from graphmesh_billing.refunds import Decision, RefundRefused, RefundRequest

MAX_BROKEN, MAX_LINES = 10, 5
"""The most broken rules and lines in a refusal: trailers of gRPC are small."""
MAX_DESCRIPTION = 60
"""Characters of a line's description in a refusal, for the same reason."""

CONSEQUENCES = {
    pb.RefundRuleEffect.REFUND_RULE_EFFECT_DENY: Consequence.DENY,
    pb.RefundRuleEffect.REFUND_RULE_EFFECT_REQUIRE_APPROVAL: Consequence.REQUIRE_APPROVAL,
}
SCOPES = {
    pb.RefundLimitScope.REFUND_LIMIT_SCOPE_REFUND: Scope.REFUND,
    pb.RefundLimitScope.REFUND_LIMIT_SCOPE_LINE: Scope.LINE,
    pb.RefundLimitScope.REFUND_LIMIT_SCOPE_CHARGE: Scope.CHARGE,
    pb.RefundLimitScope.REFUND_LIMIT_SCOPE_CUSTOMER: Scope.CUSTOMER,
}
CALENDARS = {
    pb.CalendarPeriod.CALENDAR_PERIOD_DAY: Calendar.DAY,
    pb.CalendarPeriod.CALENDAR_PERIOD_WEEK: Calendar.WEEK,
    pb.CalendarPeriod.CALENDAR_PERIOD_MONTH: Calendar.MONTH,
    pb.CalendarPeriod.CALENDAR_PERIOD_YEAR: Calendar.YEAR,
}
STATUSES = {pb.InvoiceStatus.INVOICE_STATUS_OPEN: Status.OPEN, pb.InvoiceStatus.INVOICE_STATUS_PAID: Status.PAID}
CONSEQUENCE_MESSAGES = {value: message for message, value in CONSEQUENCES.items()}
SCOPE_MESSAGES = {value: message for message, value in SCOPES.items()}
CALENDAR_MESSAGES: Mapping[Calendar | None, pb.CalendarPeriod.ValueType] = {
    None: pb.CalendarPeriod.CALENDAR_PERIOD_UNSPECIFIED,
    **{value: message for message, value in CALENDARS.items()},
}
STATUS_MESSAGES = {value: message for message, value in STATUSES.items()}


def refund_request(request: pb.RefundRequest, approval_id: str) -> RefundRequest:
    return RefundRequest(
        request.charge_id,
        money(request.amount),
        request.cause,
        line_requests(request.lines),
        money(request.expected_refunded) if request.HasField("expected_refunded") else None,
        request.policy_exception,
        approval_id,
    )


def preview_request(request: pb.PreviewRefundRequest) -> RefundRequest:
    return RefundRequest(request.charge_id, money(request.amount), lines=line_requests(request.lines))


def rules(policy: pb.RefundPolicy) -> list[Rule]:
    """The rules of a policy.

    Raises:
        InvalidRequest: a currency or a time zone does not exist.
    """
    found = (_violations(f"policy.rules[{number}]", rule) for number, rule in enumerate(policy.rules))
    violations = list(chain.from_iterable(found))
    if violations:
        raise InvalidRequest(violations=violations)
    return [_rule(rule) for rule in policy.rules]


def _violations(field: str, rule: pb.RefundRule) -> Iterator[FieldViolation]:
    for number, amount in enumerate(rule.limit.max_amounts):
        if amount.currency_code not in EXPONENTS:
            message = "is not a currency with a minor unit of ISO 4217"
            yield FieldViolation(f"{field}.limit.max_amounts[{number}].currency_code", message)
    if not _is_time_zone(rule.limit.time_zone or "UTC"):
        yield FieldViolation(f"{field}.limit.time_zone", "is not the IANA name of a time zone")


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _rule(rule: pb.RefundRule) -> Rule:
    return Rule(
        rule.name,
        CONSEQUENCES[rule.effect],
        _limit(rule.limit) if rule.HasField("limit") else None,
        rule.max_age.ToTimedelta() if rule.HasField("max_age") else None,
        tuple(STATUSES[status] for status in rule.invoice.statuses),
    )


def _limit(limit: pb.RefundLimit) -> Limit:
    return Limit(
        SCOPES[limit.per],
        limit.max_count if limit.HasField("max_count") else None,
        tuple(money(amount) for amount in limit.max_amounts),
        limit.period.ToTimedelta() if limit.HasField("period") else None,
        CALENDARS.get(limit.calendar_period),
        limit.time_zone,
    )


def policy_message(policy: RefundPolicy) -> pb.RefundPolicy:
    return pb.RefundPolicy(rules=[_rule_message(rule) for rule in policy.rules], version=policy.version)


def _rule_message(rule: Rule) -> pb.RefundRule:
    message = pb.RefundRule(name=rule.name, effect=CONSEQUENCE_MESSAGES[rule.consequence])
    if rule.limit is not None:
        message.limit.CopyFrom(_limit_message(rule.limit))
    elif rule.max_age is not None:
        message.max_age.CopyFrom(_duration(rule.max_age))
    else:
        message.invoice.statuses.extend(STATUS_MESSAGES[status] for status in rule.statuses)
    return message


def _limit_message(limit: Limit) -> pb.RefundLimit:
    return pb.RefundLimit(
        per=SCOPE_MESSAGES[limit.per],
        max_count=limit.max_count,
        max_amounts=[to_message(amount) for amount in limit.max_amounts],
        period=_duration(limit.period) if limit.period is not None else None,
        calendar_period=CALENDAR_MESSAGES[limit.calendar],
        time_zone=limit.time_zone,
    )


def _duration(time: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(time)
    return duration


def preview_message(decision: Decision) -> pb.PreviewRefundResponse:
    return pb.PreviewRefundResponse(
        allowed=not decision.is_denied,
        needs_approval=decision.needs_approval,
        broken=[_broken_message(broken) for broken in decision.broken],
        charge=charge_message(decision.charge),
        refundable=to_message(decision.charge.refundable),
        lines=line_amount_messages(decision.lines, decision.charge.amount.currency),
        policy_version=decision.policy.version,
    )


def _broken_message(broken: Broken) -> pb.BrokenRefundRule:
    return pb.BrokenRefundRule(
        rule=broken.rule,
        effect=CONSEQUENCE_MESSAGES[broken.consequence],
        message=broken.message,
        subject=broken.subject,
        used_minor=None if broken.used is None else min(broken.used, MAX_SUM),
        allowed_minor=broken.allowed,
        used_count=broken.used_count,
        allowed_count=broken.allowed_count,
    )


@contextmanager
def refusals(request: pb.RefundRequest) -> Iterator[None]:
    """Turn RefundRefused into RuleViolated or ApprovalRequired, with what is true as its detail."""
    try:
        yield
    except RefundRefused as refused:
        decision = refused.decision
        detail = _refusal(decision, {line.line_id for line in request.lines})
        if decision.needs_approval:
            message = f"the refund needs an approval: {refused}"
            raise ApprovalRequired(message, rule=decision.broken[0].rule, details=[detail]) from refused
        rule = next(broken.rule for broken in decision.broken if broken.consequence is Consequence.DENY)
        raise RuleViolated(str(refused), rule=rule, details=[detail]) from refused


def _refusal(decision: Decision, named: set[str]) -> pb.RefundRefusal:
    currency = decision.charge.amount.currency
    named_lines = [line for line in decision.invoice.lines if line.line_id in named][:MAX_LINES]
    lines = [line_message(line, currency) for line in named_lines]
    for line in lines:
        line.description = line.description[:MAX_DESCRIPTION]
    return pb.RefundRefusal(
        broken=[_broken_message(broken) for broken in decision.broken[:MAX_BROKEN]],
        charge=charge_message(decision.charge),
        refundable=to_message(decision.charge.refundable),
        lines=lines,
        policy_version=decision.policy.version,
    )
