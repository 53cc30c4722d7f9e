"""Refused calls in the audit log: few rows, however many calls."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphmesh.billing.v1 import BillingService
from graphmesh_chassis.audit_refusals import MAX_KINDS, MAX_TENANTS, OTHER_REFUSALS, PERIOD_SECONDS, Refusals
from graphmesh_chassis.calls import Call
from graphmesh_chassis.errors import (
    ApprovalMismatch,
    ApprovalRequired,
    CallerError,
    InvalidRequest,
    NotFound,
    RuleViolated,
    ScopeMissing,
    Unauthenticated,
)
from graphmesh_chassis.identity import Caller
from graphmesh_contracts import Rpc
from graphmesh_contracts.policy import method_policy


def call_of(rpc: Rpc[Any, Any] = BillingService.Charge, tenant: str = "acme", subject: str = "mira") -> Call:
    policy = method_policy(rpc.descriptor)
    return Call(
        method=rpc.descriptor,
        request_type=rpc.request,
        response_type=rpc.response,
        path=rpc.path,
        policy=policy,
        context=cast(Any, SimpleNamespace()),
        headers={},
        caller=Caller(tenant, subject, None),
    )


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def results(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, int]]:
    return [(row["tenant"], row["subject"], row["result"], row["calls"]) for row in rows]


def test_a_flood_is_a_row_at_once_and_one_a_minute() -> None:
    refusals = Refusals(clock := Clock())
    for _ in range(3):
        refusals.add(call_of(), ScopeMissing(scopes="billing.write"))
    assert results(refusals.take()) == [("acme", "mira", "SCOPE_MISSING", 3)]
    for _ in range(1000):
        refusals.add(call_of(), ScopeMissing(scopes="billing.write"))
        assert refusals.take() == []
    clock.seconds = PERIOD_SECONDS
    assert results(refusals.take()) == [("acme", "mira", "SCOPE_MISSING", 1000)]
    assert refusals.take() == []
    refusals.add(call_of(), ScopeMissing(scopes="billing.write"))
    assert results(refusals.take()) == [("acme", "mira", "SCOPE_MISSING", 1)]


def test_many_callers_of_a_tenant_hide_no_other_tenant() -> None:
    refusals = Refusals(Clock())
    for number in range(1000):
        refusals.add(call_of(subject=f"s{number}"), ScopeMissing())
    refusals.add(call_of(tenant="other"), ScopeMissing())
    rows = results(refusals.take())
    assert len(rows) == MAX_KINDS + 2
    assert ("acme", "", OTHER_REFUSALS, 1000 - MAX_KINDS) in rows
    assert ("other", "mira", "SCOPE_MISSING", 1) in rows


def test_tenants_are_bounded_too() -> None:
    refusals = Refusals(Clock())
    for number in range(1000):
        refusals.add(call_of(tenant=f"t{number}"), ScopeMissing())
    rows = results(refusals.take())
    assert len(rows) == MAX_TENANTS + 1
    assert ("", "", OTHER_REFUSALS, 1000 - MAX_TENANTS) in rows


def test_rows_that_could_not_be_written_are_due_again() -> None:
    refusals = Refusals(Clock())
    refusals.add(call_of(), ScopeMissing())
    rows = refusals.take()
    refusals.add(call_of(), ScopeMissing())
    refusals.give_back(rows)
    assert results(refusals.take()) == [("acme", "mira", "SCOPE_MISSING", 2)]


@pytest.mark.parametrize(
    ("error", "is_read", "is_listed"),
    [
        (ScopeMissing(), True, True),
        (ApprovalRequired(), False, True),
        (ApprovalMismatch(), False, True),
        (NotFound(resource="charge", id="c"), False, True),
        (NotFound(resource="charge", id="c"), True, False),
        (InvalidRequest(), False, False),
        (RuleViolated(), False, False),
    ],
    ids=str,
)
def test_refusals_of_rights_are_listed(error: CallerError, is_read: bool, is_listed: bool) -> None:
    """And writes to what the tenant does not have; not errors of a request."""
    refusals = Refusals(Clock())
    refusals.add(call_of(BillingService.ListInvoices if is_read else BillingService.Charge), error)
    assert bool(refusals.take()) is is_listed


def test_what_the_log_has_already_is_not_listed_again() -> None:
    refusals = Refusals(Clock())
    recorded = call_of()
    recorded.is_audited = True
    refusals.add(recorded, ApprovalRequired())
    assert refusals.take() == []


def test_a_call_without_identity_has_no_caller() -> None:
    """And the subject of another one is cut to the length of its column."""
    refusals = Refusals(Clock())
    refusals.add(call_of(), Unauthenticated(header="x-graphmesh-subject"))
    refusals.add(replace(call_of(subject="s" * 9000)), ScopeMissing())
    assert results(refusals.take()) == [("", "", "UNAUTHENTICATED", 1), ("acme", "s" * 255, "SCOPE_MISSING", 1)]
