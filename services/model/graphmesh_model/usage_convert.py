"""Converts between the protobuf messages of usage and budgets and the accounts."""

import json
import re

from google.protobuf.timestamp_pb2 import Timestamp
from graphmesh.model import v1 as pb
from graphmesh_chassis import metadata
from graphmesh_chassis.errors import FieldViolation, InvalidMetadata, InvalidRequest
from graphmesh_chassis.pages import decode_position

from graphmesh_model.accounting.budgets import Account, Balance, Scope
from graphmesh_model.accounting.ledger import UsageFilter, UsageGroup
from graphmesh_model.calling import RunLimits
from graphmesh_model.domain import Attempt, Usage

DIMENSIONS = {
    pb.UsageDimension.USAGE_DIMENSION_TENANT: "tenant",
    pb.UsageDimension.USAGE_DIMENSION_DAY: "day",
    pb.UsageDimension.USAGE_DIMENSION_RUN: "run",
    pb.UsageDimension.USAGE_DIMENSION_ALIAS: "alias",
    pb.UsageDimension.USAGE_DIMENSION_MODEL: "model",
}
SCOPES = {
    Scope.RUN: pb.BudgetScope.BUDGET_SCOPE_RUN,
    Scope.TENANT: pb.BudgetScope.BUDGET_SCOPE_TENANT,
    Scope.SERVICE: pb.BudgetScope.BUDGET_SCOPE_SERVICE,
}
LIMITS = re.compile(r"(cost|tokens)=([0-9]{1,18})")


def run_limits(header: str) -> RunLimits:
    """Parse the header of a run's limits; empty: none. Raises InvalidMetadata."""
    found = [LIMITS.fullmatch(part) for part in header.split(",")] if header else []
    if not all(found):
        raise InvalidMetadata(header=metadata.RUN_LIMITS, rule="cost=NUMBER,tokens=NUMBER")
    values = {match[1]: int(match[2]) for match in found if match}
    return RunLimits(values.get("cost", 0), values.get("tokens", 0))


def usage(used: Usage, cost: int | None) -> pb.Usage:
    return pb.Usage(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cached_input_tokens=used.cached_input_tokens,
        cost_micro_usd=cost,
        cache_written_input_tokens=used.cache_written_input_tokens,
        reasoning_output_tokens=used.reasoning_output_tokens,
        audio_input_tokens=used.audio_input_tokens,
        audio_output_tokens=used.audio_output_tokens,
        estimated=used.estimated,
        images=used.images,
    )


def attempt(failed: Attempt) -> pb.FailedAttempt:
    return pb.FailedAttempt(
        alias=failed.alias,
        provider=failed.provider,
        model=failed.model,
        reason=failed.reason,
        fault=failed.fault,
        usage=usage(failed.usage, failed.cost_micro_usd),
    )


def usage_filter(request: pb.ListUsageRequest, tenant: str) -> UsageFilter:
    return UsageFilter(
        group_by=tuple(DIMENSIONS[dimension] for dimension in request.group_by),
        tenant=tenant,
        run=request.run,
        alias=request.alias,
        first_day=request.first_day,
        last_day=request.last_day,
    )


def position(request: pb.ListUsageRequest, conditions: UsageFilter) -> tuple[str, ...] | None:
    """Return the last group of the page before, by its dimensions. Raises InvalidRequest for another token."""
    found = decode_position(request.page_token, str, str)
    if found is None:
        return None
    names, values = found
    try:
        parts = json.loads(values)
        if names == ",".join(conditions.group_by) and len(parts) == len(conditions.group_by):
            return tuple(part for part in parts if isinstance(part, str) and "\0" not in part)
    except (ValueError, TypeError):
        pass
    raise InvalidRequest(violations=[FieldViolation("page_token", "is not a token of this listing")])


def token_of(group: UsageGroup, conditions: UsageFilter) -> tuple[str, str]:
    """Return the position of a group, as the token of the next page holds it."""
    values = [getattr(group, name) for name in conditions.group_by]
    return ",".join(conditions.group_by), json.dumps(values)


def group(found: UsageGroup) -> pb.UsageGroup:
    total = found.total
    return pb.UsageGroup(
        tenant=found.tenant,
        day=found.day,
        run=found.run,
        alias=found.alias,
        model=found.model,
        attempts=total.attempts,
        failed_attempts=total.failed_attempts,
        usage=usage(total.usage, total.cost),
        estimated_tokens=total.estimated_tokens,
        unpriced_tokens=total.unpriced_tokens,
        cache_hits=total.cache_hits,
    )


def budget(account: Account, balance: Balance) -> pb.BudgetStatus:
    own = account.budget
    return pb.BudgetStatus(
        name=own.name,
        scope=SCOPES[own.scope],
        aliases=sorted(own.aliases),
        max_cost_micro_usd=own.max_cost,
        max_tokens=own.max_tokens,
        spent_cost_micro_usd=balance.spent_cost,
        reserved_cost_micro_usd=balance.reserved_cost,
        spent_tokens=balance.spent_tokens,
        reserved_tokens=balance.reserved_tokens,
        renew_time=_timestamp(account),
    )


def _timestamp(account: Account) -> Timestamp | None:
    if account.renews is None:
        return None
    moment = Timestamp()
    moment.FromDatetime(account.renews)
    return moment
