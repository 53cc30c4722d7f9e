"""Budgets of tenants for a day: runs end by them with what they have, and none begins; other tenants notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.status import from_status
from graphmesh_client import Client, run_request
from graphmesh_orchestrator.settings import Settings

from tests.integration.orchestrator.mesh import Mesh, notes, reason, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUDGETS: dict[str, Any] = {
    "steps": {"max_steps": 5, "tenants": ["walker", "planner"]},
    "few steps": {"max_steps": 4, "tenants": ["asker"]},
    "tokens": {"max_tokens": 200, "tenants": ["reader"]},
    "cost": {"max_cost_micro_usd": 1000, "tenants": ["spender"]},
    "effects": {"max_effects": 2, "tenants": ["payer", "pair"]},
}
INPUT = {"name": "x"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("mesh")
    async with (
        serve_billing(folder) as billing,
        serve_orchestrator(folder, billing, budgets=BUDGETS, schedule_interval_seconds=1) as mesh,
    ):
        yield mesh


@asynccontextmanager
async def tenant_of(mesh: Mesh, tenant: str) -> AsyncIterator[Mesh]:
    async with Client(mesh.address, tenant=tenant, retry_timeout=60) as client:
        yield replace(mesh, client=client, tenant=tenant)


def renewal() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


async def refusal(mesh: Mesh, graph: str = "thinking", **fields: Any) -> GraphmeshError:
    with pytest.raises(GraphmeshError) as refused:
        await mesh.create(graph, INPUT, **fields)
    return refused.value


async def test_a_run_ends_by_the_budget_with_what_it_has_and_none_begins(shared_mesh: Mesh) -> None:
    """A second run of three nodes ends after the fifth step of both, with the output of its two."""
    async with tenant_of(shared_mesh, "walker") as mesh:
        first = await mesh.create("thinking", INPUT, request_id="first")
        await mesh.wait(first)
        run = await mesh.run("thinking", **INPUT)
        assert (run.status, reason(run), run.usage.steps) == (pb.RunStatus.RUN_STATUS_ERROR, "STEP_LIMIT", 2)
        assert notes(run) == ["thought", "thought"]
        error = from_status(run.error)
        assert (error.data["budget"], error.data["renews"]) == ("steps", f"{renewal():%Y-%m-%dT%H:%M:%SZ}")
        refused = await refusal(mesh)
        assert (refused.reason, refused.data["budget"], refused.data["used"]) == ("STEP_LIMIT", "steps", "5")
        assert abs((refused.retry_after or 0) - (renewal() - datetime.now(UTC)).total_seconds()) < 60
        assert (await mesh.create("thinking", INPUT, request_id="first")).run_id == first.run_id
        [status] = await mesh.client.list_budgets()
        assert (status.name, status.used_steps, status.max_steps, status.used_tokens) == ("steps", 5, 5, 500)
        assert status.renew_time.ToDatetime(UTC) == renewal()
    async with shared_mesh.as_new_tenant() as stranger:
        assert (await stranger.run("thinking", **INPUT)).status == pb.RunStatus.RUN_STATUS_SUCCESS
        assert await stranger.client.list_budgets() == []


@pytest.mark.parametrize(("tenant", "expected"), [("reader", "TOKEN_LIMIT"), ("spender", "BUDGET_EXCEEDED")])
async def test_tokens_and_cost_end_runs_likewise(shared_mesh: Mesh, tenant: str, expected: str) -> None:
    async with tenant_of(shared_mesh, tenant) as mesh:
        run = await mesh.run("thinking", **INPUT)
        assert (reason(run), run.usage.steps) == (expected, 2)
        assert (await refusal(mesh)).reason == expected


async def test_a_parked_run_keeps_its_question_until_the_budget_renews(shared_mesh: Mesh) -> None:
    async with tenant_of(shared_mesh, "asker") as mesh:
        parked = await mesh.run("ask_twice", **INPUT)
        await mesh.run("thinking", **INPUT)
        with pytest.raises(GraphmeshError) as refused:
            await mesh.resume(parked, {parked.interrupts[0].interrupt_id: "yes"})
        assert refused.value.reason == "STEP_LIMIT"
        kept = await mesh.client.get_run(parked.run_id)
        assert (kept.status, len(kept.interrupts)) == (pb.RunStatus.RUN_STATUS_INTERRUPTED, 1)


async def test_a_tick_without_budget_is_no_failure_of_its_schedule(shared_mesh: Mesh) -> None:
    async with tenant_of(shared_mesh, "planner") as mesh:
        schedule = await mesh.client.schedules.create(run_request("thinking", INPUT), interval=1)
        async with asyncio.timeout(60):
            while not (ticked := await mesh.client.schedules.get(schedule.schedule_id)).HasField("last_error"):
                await asyncio.sleep(0.1)
        assert (from_status(ticked.last_error).reason, ticked.failures) == ("STEP_LIMIT", 0)
        await mesh.client.schedules.delete(schedule.schedule_id)


async def test_parallel_runs_do_not_exceed_the_effects_of_a_day(shared_mesh: Mesh) -> None:
    """Runs without budget for effects do all else: they read, and new ones begin."""
    async with tenant_of(shared_mesh, "payer") as mesh:
        invoices = [await mesh.create_invoice() for _ in range(8)]
        runs = await asyncio.gather(*(mesh.run("pay", invoice_id=invoice, amount=5) for invoice in invoices))
        assert sum([await mesh.count_charges(invoice) for invoice in invoices]) == 2
        refused = [run for run in runs if reason(run)]
        errors = [from_status(run.error) for run in refused]
        assert {(error.reason, error.data["budget"]) for error in errors} == {("EFFECT_LIMIT", "effects")}
        assert [notes(run) for run in refused] == [["owes 1000"]] * 6
        assert (await mesh.run("thinking", **INPUT)).status == pb.RunStatus.RUN_STATUS_SUCCESS


async def test_two_orchestrators_share_the_effects_of_a_day(
    shared_mesh: Mesh, tmp_path_factory: pytest.TempPathFactory, postgres_url: str
) -> None:
    settings: dict[str, Any] = {"budgets": BUDGETS, "database_url": SecretUrl(postgres_url)}
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    async with (
        serve_orchestrator(folders[0], shared_mesh.billing, **settings) as one,
        serve_orchestrator(folders[1], shared_mesh.billing, **settings) as two,
        tenant_of(one, "pair") as here,
        tenant_of(two, "pair") as there,
    ):
        invoices = [await here.create_invoice() for _ in range(8)]
        paid = (
            mesh.run("pay", invoice_id=invoice, amount=5)
            for mesh, invoice in zip([here, there] * 4, invoices, strict=True)
        )
        await asyncio.gather(*paid)
        assert sum([await here.count_charges(invoice) for invoice in invoices]) == 2


@pytest.mark.parametrize(
    ("budgets", "rule"),
    [
        ({"run": {"max_steps": 1}}, "budgets has run, the name of the limits that a run itself has"),
        ({"day": {"max_stesp": 1}}, "budgets.day.max_stesp"),
        ({"day": {}}, "budgets.day"),
    ],
)
async def test_budgets_that_break_a_rule_are_refused_by_name(budgets: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Settings(budgets=budgets)
