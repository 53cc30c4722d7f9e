"""The tenant's policy: rights, approvals and bounds, also where it changes while a change is pending."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest
from graphmesh.crm.v1 import CrmService
from graphmesh_nodes import Limits
from graphmesh_nodes.testing import GraphHarness
from operations.policy import FieldRule, OperationsPolicy

from tests.unit.operations.desk import LEAD, Desk, accept, harness_of

ROLES = ("agent", "lead")
RIGHTS = [frozenset(names) for names in ((), ROLES[:1], ROLES[1:], ROLES)]
CALLERS = [None, *RIGHTS, frozenset({"guest"})]


def change(*ids: str, **values: str) -> dict[str, Any]:
    return {"change": {"record": "customer", "ids": list(ids) or ["cu_1"], "set": values}}


async def with_rules(rules: Mapping[str, Mapping[str, Any]], **members: Any) -> GraphHarness:
    harness = harness_of(Desk())
    await set_rules(harness, rules, **members)
    return harness


async def set_rules(harness: GraphHarness, rules: Mapping[str, Mapping[str, Any]], **members: Any) -> None:
    fields = {f"customer.{name}": {"roles": [LEAD], **rule} for name, rule in rules.items()}
    await harness.store.aput(("policies", "operations"), "policy", {"fields": fields, **members})


@pytest.mark.parametrize(("email", "tier", "caller"), list(product(RIGHTS, RIGHTS, CALLERS)))
def test_change_of_two_fields_needs_the_rights_of_both(
    email: frozenset[str], tier: frozenset[str], caller: frozenset[str] | None
) -> None:
    policy = OperationsPolicy(
        fields={"customer.email": FieldRule(roles=email), "customer.tier": FieldRule(roles=tier)},
        max_records=1,
        max_approvals=1,
        shown_records=1,
        id_prefixes={},
        ticket_topic="x",
    )
    refused = policy.refused("customer", ["email", "tier", "name"], caller)
    rights = {"email": email, "tier": tier}
    assert refused == [name for name, roles in rights.items() if caller is not None and not caller & roles] + ["name"]


@pytest.mark.parametrize("rule", [{"approval": True}, {"four_eyes": True}, {"scopes": ["approvals.crm"]}])
async def test_four_eyes_and_scopes_imply_an_approval(rule: dict[str, Any]) -> None:
    harness = await with_rules({"email": rule})
    [approval] = (await accept(harness, await harness.run(change(email="n@example.org")))).approvals
    assert (approval.four_eyes, approval.scopes) == ("four_eyes" in rule, ["approvals.crm"])


async def test_approval_of_two_fields_needs_the_scopes_of_both() -> None:
    harness = await with_rules({"email": {"approval": True}, "phone": {"scopes": ["approvals.low"]}})
    [approval] = (await accept(harness, await harness.run(change(email="n@example.org", phone="5")))).approvals
    assert set(approval.scopes) == {"approvals.crm", "approvals.low"}


@pytest.mark.parametrize(("members", "limit"), [({"max_records": 2}, "2"), ({"max_approvals": 1}, "1")])
async def test_the_lower_bound_holds_for_changes_with_approvals(members: dict[str, int], limit: str) -> None:
    harness = await with_rules({"tier": {"approval": True}}, **members)
    output = (await harness.run(change("cu_1", "cu_2", "cu_3", tier="vip"))).output
    assert (output["outcome"], limit in output["answer"]) == ("refused", True)


@pytest.mark.parametrize("rules", [{"email": {"roles": ["admin"]}}, {"phone": {}}], ids=["roles", "rule"])
async def test_right_that_was_taken_away_permits_no_effect(rules: dict[str, Any]) -> None:
    harness = await with_rules({"email": {}})
    result = await harness.run(change("cu_1", "cu_2", email="n@example.org"))
    await set_rules(harness, rules)
    output = (await accept(harness, result)).output
    assert (output["outcome"], output["change_id"], harness.executed(CrmService.UpdateCustomer)) == ("refused", "", [])
    assert "customer.email" in output["answer"]


async def test_right_that_was_taken_away_while_an_approval_is_pending_permits_no_effect() -> None:
    harness = await with_rules({"email": {"approval": True}})
    [approval] = (await accept(harness, await harness.run(change(email="n@example.org")))).approvals
    await set_rules(harness, {"phone": {}})
    assert (await harness.approve(approval, by="lena")).output["outcome"] == "refused"
    assert harness.executed(CrmService.UpdateCustomer) == []


@pytest.mark.parametrize("done", [1, 2])
async def test_limit_of_effects_ends_with_what_was_changed(done: int) -> None:
    harness = harness_of(Desk(), limits=Limits(max_effects=done))
    ids: Sequence[str] = ("cu_1", "cu_2", "cu_3")
    output = (await accept(harness, await harness.run(change(*ids, phone="5")))).output
    assert [item["status"] for item in output["items"]] == ["applied"] * done + ["refused"] * (3 - done)
    assert "EFFECT_LIMIT" in output["answer"]
