"""`graphmesh usage`: tokens and cost of models, by run, day, alias, model or tenant; and budgets of models and runs."""

import asyncio
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Annotated, Any

import typer
from graphmesh.model.v1 import (
    BudgetScope,
    BudgetStatus,
    ListBudgetsRequest,
    ListUsageRequest,
    ModelService,
    UsageDimension,
    UsageGroup,
)
from graphmesh.orchestrator.v1 import BudgetStatus as RunBudget
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from graphmesh_local.state_folder import DEFAULT_STATE

from graphmesh_cli.commands.connection import (
    DEFAULT_TENANT,
    Connection,
    MeshTarget,
    State,
    Tenant,
    Token,
    check_tenant,
    mesh_target,
)
from graphmesh_cli.commands.output import AsJson, show_list
from graphmesh_cli.failures import ExitCode, of_mesh

DIMENSIONS = ("tenant", "day", "run", "alias", "model")
MICRO = 1_000_000
MAX_GROUPS = 1000
SCOPES = "model.usage.read model.usage.all"
TIMEOUT = 10.0
"""Seconds for one call."""
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def usage(
    by: Annotated[str, typer.Option(help="Dimensions, with commas: tenant, day, run, alias, model.")] = "day,alias",
    run: Annotated[str, typer.Option(help="Only this run.")] = "",
    alias: Annotated[str, typer.Option(help="Only this alias.")] = "",
    since: Annotated[str, typer.Option(help="Only from this day on, in UTC: 2026-11-30.")] = "",
    until: Annotated[str, typer.Option(help="Only up to this day, with it.")] = "",
    all_tenants: Annotated[bool, typer.Option("--all-tenants", help="The usage of every tenant.")] = False,
    budgets: Annotated[bool, typer.Option("--budgets", help="Show the budgets and what is left of them.")] = False,
    as_json: AsJson = False,
    address: Annotated[str, typer.Option(help="The mesh listener, as host:port; by default the running mesh's.")] = "",
    edge: Annotated[str, typer.Option(help="The edge, for budgets of runs; by default the running mesh's.")] = "",
    token: Token = "",
    state: State = DEFAULT_STATE,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show what models have used: attempts, tokens and cost, also of calls that failed; or what is left of budgets.

    A count with ~ is estimated in part, since a vendor stated none. A cost with + lacks that of models without a price.
    """
    check_tenant(tenant)
    names = _dimensions(by)
    for option, day in (("--since", since), ("--until", until)):
        if day and not DAY.fullmatch(day):
            raise typer.BadParameter(f"{day} must be a day, such as 2026-11-30", param_hint=option)
    target = mesh_target(address, state)
    if budgets:
        runs = Connection(edge, state, tenant, token) if edge or not address else None
        of_runs = runs.run(lambda client: client.list_budgets()) if runs else []
        return _show_budgets(asyncio.run(_model_budgets(target, tenant, run)), of_runs, as_json)
    request = ListUsageRequest(
        group_by=[UsageDimension.Value(f"USAGE_DIMENSION_{name.upper()}") for name in names],
        run=run,
        alias=alias,
        first_day=since,
        last_day=until,
        all_tenants=all_tenants,
        page_size=MAX_GROUPS,
    )
    groups = asyncio.run(_usage(target, tenant, request))
    dimensions: dict[str, Callable[[UsageGroup], str]] = {name: attrgetter(name) for name in names}
    columns = {**dimensions, **USAGE_COLUMNS}
    return show_list(groups, columns, ids=["run"], empty="no usage", as_json=as_json)


def _dimensions(by: str) -> list[str]:
    names = [name.strip() for name in by.split(",") if name.strip()]
    if unknown := [name for name in names if name not in DIMENSIONS]:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(DIMENSIONS)}", param_hint="--by")
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"{by} names a dimension twice", param_hint="--by")
    return names


async def _usage(target: MeshTarget, tenant: str, request: ListUsageRequest) -> list[UsageGroup]:
    """Return all pages. Raises Failure where the mesh does not answer."""
    found: list[UsageGroup] = []
    async with target.channel() as channel:
        while True:
            page = await _call(channel, ModelService.ListUsage, request, tenant)
            found += page.groups
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


def _show_budgets(of_models: list[BudgetStatus], of_runs: list[RunBudget], as_json: bool) -> None:
    """Show budgets as two tables, whose columns differ."""
    if of_models or not of_runs:
        show_list(of_models, BUDGET_COLUMNS, empty="no budgets", as_json=as_json)
    if of_runs:
        show_list(of_runs, RUN_BUDGET_COLUMNS, empty="", as_json=as_json)


async def _model_budgets(target: MeshTarget, tenant: str, run: str) -> list[BudgetStatus]:
    async with target.channel() as channel:
        return list((await _call(channel, ModelService.ListBudgets, ListBudgetsRequest(run=run), tenant)).budgets)


async def _call(channel: Channel, rpc: Any, request: Any, tenant: str) -> Any:
    headers = [(metadata.TENANT, tenant), (metadata.SUBJECT, "usage"), (metadata.SCOPES, SCOPES)]
    try:
        return await channel.unary(rpc, request, deadline=Deadline.after(TIMEOUT), headers=headers)
    except GraphmeshError as error:
        code = ExitCode.UNAVAILABLE if isinstance(error, DependencyError) else ExitCode.FAILED
        raise of_mesh(error, code) from error


def _dollars(micro: int) -> str:
    """Show millionths of a dollar: `0.000017`."""
    return f"{micro // MICRO}.{micro % MICRO:06d}"


def _tokens(group: UsageGroup, name: str) -> str:
    return f"{'~' if group.usage.estimated else ''}{getattr(group.usage, name)}"


def _part(spent: str, limit: str) -> str:
    return f"{spent} of {limit}" if limit.strip("0.") else spent


def _renewal(one: BudgetStatus | RunBudget) -> str:
    return f"{one.renew_time.ToDatetime():%Y-%m-%d %H:%M}" if one.HasField("renew_time") else "never"


USAGE_COLUMNS: Mapping[str, Callable[[UsageGroup], str]] = {
    "attempts": lambda group: str(group.attempts),
    "failed": lambda group: str(group.failed_attempts),
    "input": lambda group: _tokens(group, "input_tokens"),
    "cached": lambda group: str(group.usage.cached_input_tokens),
    "output": lambda group: _tokens(group, "output_tokens"),
    "cost in $": lambda group: f"{_dollars(group.usage.cost_micro_usd)}{'+' if group.unpriced_tokens else ''}",
}
BUDGET_COLUMNS: Mapping[str, Callable[[BudgetStatus], str]] = {
    "budget": lambda one: one.name,
    "of each": lambda one: BudgetScope.Name(one.scope).removeprefix("BUDGET_SCOPE_").lower(),
    "cost in $": lambda one: _part(_dollars(one.spent_cost_micro_usd), _dollars(one.max_cost_micro_usd)),
    "tokens": lambda one: _part(str(one.spent_tokens), str(one.max_tokens)),
    "reserved": lambda one: f"{_dollars(one.reserved_cost_micro_usd)}, {one.reserved_tokens} tokens",
    "renews": _renewal,
}
RUN_BUDGET_COLUMNS: Mapping[str, Callable[[RunBudget], str]] = {
    "budget of runs": lambda one: one.name,
    "steps": lambda one: _part(str(one.used_steps), str(one.max_steps)),
    "effects": lambda one: _part(str(one.used_effects), str(one.max_effects)),
    "cost in $": lambda one: _part(_dollars(one.used_cost_micro_usd), _dollars(one.max_cost_micro_usd)),
    "tokens": lambda one: _part(str(one.used_tokens), str(one.max_tokens)),
    "renews": _renewal,
}
