"""Policies are read from the protos, and merged with an environment's overrides."""

from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from graphmesh.billing.v1 import BillingService
from graphmesh_contracts import (
    Idempotency,
    Overrides,
    PolicyError,
    RateLimit,
    ServicePolicy,
    method_policy,
    service_policies,
)

CHARGE = BillingService.Charge.descriptor
BILLING = CHARGE.containing_service
NO_OVERRIDES = Overrides()


def service_policy(service: ServiceDescriptor, overrides: Overrides = NO_OVERRIDES) -> ServicePolicy:
    """The policy of the only service of a process."""
    [policy] = service_policies([service], overrides).values()
    return policy


def test_reads_the_policy_of_a_method() -> None:
    """The options of billing.proto; durations are in seconds."""
    policy = method_policy(CHARGE)
    assert (policy.idempotency, policy.timeout, policy.max_attempts) == (Idempotency.EFFECT, 5.0, 3)
    assert policy.scopes == {"billing.charge"}
    assert (policy.needs_approval, policy.visible_to_models) == (False, False)


def test_an_override_requires_approvals() -> None:
    """With the scopes of approvers and the time to answer; a day where the override states none."""
    required = method_policy(CHARGE, Overrides(methods={"Charge": {"approval": "APPROVAL_REQUIRED"}}))
    assert (required.needs_approval, required.approvers, required.approval_ttl) == (True, frozenset(), 86_400.0)
    named = {"approval": "APPROVAL_REQUIRED", "approvers": ["approvals.money"], "approvalTtl": "60s"}
    policy = method_policy(CHARGE, Overrides(methods={"Charge": named}))
    assert (policy.approvers, policy.approval_ttl) == (frozenset({"approvals.money"}), 60.0)


def test_reads_the_policy_of_a_service() -> None:
    """Cap, queue and breaker; no rate limit where none is declared."""
    policy = service_policy(BILLING)
    assert (policy.max_concurrency, policy.max_queue, policy.rate_limit) == (16, 1024, None)
    assert (policy.breaker.consecutive_failures, policy.breaker.cooling_period) == (5, 2.0)


@pytest.mark.parametrize(("override", "seconds"), [("0.2s", 0.2), ("7s", 7.0), ("1.5s", 1.5)])
def test_an_override_replaces_a_duration_as_a_whole(override: str, seconds: float) -> None:
    """0.2 seconds over 5 seconds are 0.2 seconds, and not 5.2."""
    assert method_policy(CHARGE, Overrides(methods={"Charge": {"timeout": override}})).timeout == seconds


def test_an_override_keeps_other_fields() -> None:
    """One number of a breaker changes and its others are kept; scopes are replaced, not added."""
    service = service_policy(BILLING, Overrides(service={"breaker": {"consecutiveFailures": 9}}))
    assert (service.breaker.consecutive_failures, service.breaker.max_cooling_period) == (9, 30.0)
    method = method_policy(CHARGE, Overrides(methods={"Charge": {"scopes": ["money.take"]}}))
    assert (method.scopes, method.timeout) == (frozenset({"money.take"}), 5.0)


def test_an_override_may_be_zero() -> None:
    """A queue of length 0 is an override, not an absent one."""
    assert service_policy(BILLING, Overrides(service={"max_queue": 0})).max_queue == 0


def test_an_override_adds_a_rate_limit() -> None:
    overrides = Overrides(service={"rateLimit": {"calls": 10, "period": "0.5s"}})
    assert service_policy(BILLING, overrides).rate_limit == RateLimit(10, 0.5)


@pytest.mark.parametrize(
    ("service", "named"),
    [
        ({"maxConcurrency": 0}, "max_concurrency"),
        ({"cap": 2}, "cap"),
        ({"maxQueue": "many"}, "maxQueue"),
        ({"breaker": 3}, "breaker"),
    ],
)
def test_an_invalid_override_is_named(service: dict[str, Any], named: str) -> None:
    """The rules of policy.proto apply to overrides."""
    with pytest.raises(PolicyError, match=named):
        service_policy(BILLING, Overrides(service=service))


def test_an_override_of_an_unknown_method_is_refused() -> None:
    """A typing error in mesh.yaml is not ignored."""
    with pytest.raises(PolicyError, match="Chrage"):
        service_policy(BILLING, Overrides(methods={"Chrage": {}}))


def test_overrides_round_trip_as_text() -> None:
    overrides = Overrides({"max_concurrency": 2}, {"Charge": {"timeout": "1s"}})
    assert Overrides.parse(overrides.dump()) == overrides
    assert Overrides.parse("") == Overrides()
    with pytest.raises(PolicyError):
        Overrides.parse('{"methods": {}, "caps": 1}')


def test_a_service_without_a_policy_is_refused() -> None:
    """A third-party service, such as health, cannot be put behind the mesh by accident."""
    import grpc_health.v1.health_pb2  # noqa: F401  # registers the descriptor

    health = descriptor_pool.Default().FindServiceByName("grpc.health.v1.Health")
    with pytest.raises(PolicyError):
        service_policy(health)
    with pytest.raises(PolicyError):
        method_policy(health.methods_by_name["Check"])


def test_a_handle_has_the_names_of_its_rpc() -> None:
    """The path that is called, and the name shown to people and models."""
    charge = BillingService.Charge
    assert (charge.path, charge.tool) == ("/graphmesh.billing.v1.BillingService/Charge", "billing.Charge")
    assert (charge.service, charge.method) == ("graphmesh.billing.v1.BillingService", "Charge")
