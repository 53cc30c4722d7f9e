"""Conversion of budgets to protobuf."""

from collections.abc import Sequence

from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.timestamps import to_timestamp

from graphmesh_orchestrator.budgets.budget import renewal_of
from graphmesh_orchestrator.budgets.tenant_budgets import TenantBudget


def status_messages(held: TenantBudget) -> Sequence[pb.BudgetStatus]:
    """Return the budgets of a tenant by name, each with what is used today."""
    used, renews = held.today, renewal_of(held.day)
    return [
        pb.BudgetStatus(
            name=name,
            max_steps=budget.max_steps,
            max_tokens=budget.max_tokens,
            max_cost_micro_usd=budget.max_cost_micro_usd,
            max_effects=budget.max_effects,
            used_steps=used.steps,
            used_tokens=used.tokens,
            used_cost_micro_usd=used.cost,
            used_effects=used.effects,
            renew_time=to_timestamp(renews),
        )
        for name, budget in sorted(held.budgets.items())
    ]
