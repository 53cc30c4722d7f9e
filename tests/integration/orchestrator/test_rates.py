"""Rates of graphs: how many runs a tenant may create; and rates of clients in the services that runs call."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.errors import GraphmeshError, RateLimited
from graphmesh_chassis.settings import BadSetting
from graphmesh_chassis.status import from_status
from graphmesh_client import run_request
from graphmesh_contracts import Overrides
from graphmesh_orchestrator.settings import Settings

from tests.integration.orchestrator.mesh import Mesh, reason, serve_billing, serve_orchestrator

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = """
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

class State(TypedDict, total=False):
    name: str
    asks: bool

def greet(state):
    if state.get("asks"):
        interrupt("continue?")
    return {"name": "greeted"}

graph = StateGraph(State)
graph.add_node("greet", greet)
graph.add_edge(START, "greet")
"""
INPUT = {"name": "x"}
RATES = {"greeting": {"calls": 3, "period": "3600s", "failureMode": "FAILURE_MODE_CLOSED"}}


def json_of(rates: Any) -> Any:
    """Return rates as the environment variable has them."""
    return json.dumps(rates)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder: Path = tmp_path_factory.mktemp("mesh")
    for graph in ("greeting", "other"):
        (folder / f"{graph}.py").write_text(GRAPH)
    policy = Overrides(service={"clientRate": {"calls": 1, "period": "3600s"}})
    async with (
        serve_billing(folder, policy=policy) as billing,
        serve_orchestrator(folder, billing, graph_rates=json_of(RATES), schedule_interval_seconds=1) as mesh,
    ):
        yield mesh


@pytest_asyncio.fixture(loop_scope="module")
async def mesh(shared_mesh: Mesh) -> AsyncIterator[Mesh]:
    async with shared_mesh.as_new_tenant() as mesh:
        yield mesh


async def created(mesh: Mesh, graph: str = "greeting", **fields: Any) -> str:
    """Create a run, and return the reason of its refusal; empty where it is created."""
    try:
        await mesh.create(graph, INPUT, **fields)
    except GraphmeshError as error:
        return error.reason
    return ""


async def test_tenant_creates_as_many_runs_of_a_graph_as_its_rate(mesh: Mesh) -> None:
    outcomes = await asyncio.gather(*(created(mesh) for _ in range(10)))
    assert (outcomes.count(""), outcomes.count("RATE_LIMITED")) == (3, 7)
    assert await created(mesh, "other") == ""
    async with mesh.as_new_tenant() as stranger:
        assert await created(stranger) == ""


async def test_refusal_names_the_graph_its_rate_and_when_to_retry(mesh: Mesh) -> None:
    """Also where an assistant of the graph is named."""
    assistant = await mesh.client.assistants.create("greeting", name="polite")
    for _ in range(3):
        await mesh.create("", INPUT, assistant=assistant.assistant_id)
    with pytest.raises(RateLimited, match="rate of the graph greeting, 3 calls in 3600 s") as refusal:
        await mesh.call(pb.RunService.ExecuteRun, pb.ExecuteRunRequest(run=run_request("greeting", INPUT)))
    assert refusal.value.data == {"rate": "graph", "graph": "greeting", "calls": "3", "period_seconds": "3600"}
    assert 3500 < (refusal.value.retry_after or 0) <= 3600


async def test_repeats_and_refused_requests_do_not_count(mesh: Mesh) -> None:
    for _ in range(5):
        assert await created(mesh, request_id="a") == ""
        assert await created(mesh, thread_id="t", checkpoint_id="unknown") == "RESOURCE_NOT_FOUND"
    assert [await created(mesh) for _ in range(3)] == ["", "", "RATE_LIMITED"]
    assert await created(mesh, request_id="a") == ""
    assert await created(mesh, request_id="b") == "RATE_LIMITED"


async def test_resumed_runs_do_not_count(mesh: Mesh) -> None:
    run = await mesh.run("greeting", asks=True)
    assert [await created(mesh) for _ in range(3)] == ["", "", "RATE_LIMITED"]
    [interrupt] = run.interrupts
    await mesh.resume(run, {interrupt.interrupt_id: "yes"})
    assert (await mesh.wait(run)).status == pb.RunStatus.RUN_STATUS_SUCCESS


async def test_runs_of_schedules_count(mesh: Mesh) -> None:
    """A tick above the rate creates no run, states why, and is no failure; nor does the schedule itself count."""
    schedules = mesh.client.schedules
    schedule = await schedules.create(run_request("greeting", INPUT), interval=1)
    async with asyncio.timeout(60):
        while not (ticked := await schedules.get(schedule.schedule_id)).HasField("last_error"):
            await asyncio.sleep(0.1)
    assert from_status(ticked.last_error).reason == "RATE_LIMITED"
    assert (ticked.run_count, ticked.failures) == (3, 0)
    assert await created(mesh) == "RATE_LIMITED"
    with pytest.raises(RateLimited):
        await schedules.trigger(schedule.schedule_id)
    await schedules.delete(schedule.schedule_id)


async def test_without_redis_each_rate_fails_as_it_states(shared_mesh: Mesh, tmp_path: Path) -> None:
    """One that fails closed refuses runs, one that fails open is counted by the process alone."""
    for graph in ("greeting", "other"):
        (tmp_path / f"{graph}.py").write_text(GRAPH)
    rates = json_of(RATES | {"other": {"calls": 2, "period": "3600s"}})
    away = "redis://127.0.0.1:1/0"
    async with serve_orchestrator(tmp_path, shared_mesh.billing, graph_rates=rates, redis_url=away) as mesh:
        with pytest.raises(RateLimited, match="The rate of the graph greeting cannot be counted at the moment"):
            await mesh.create("greeting", INPUT)
        assert [await created(mesh, "other") for _ in range(3)] == ["", "", "RATE_LIMITED"]


@pytest.mark.parametrize(
    ("rates", "rule"),
    [
        ({"greeting": {"calls": 0, "period": "60s"}}, "the rate of greeting: calls: "),
        ({"greeting": {"calls": 5, "period": "0.5s"}}, "the rate of greeting: period: "),
        ({"greeting": {"calls": 5}}, "the rate of greeting: period: "),
        ({"greeting": {"call": 5, "period": "60s"}}, 'the rate of greeting: .*"call"'),
        ({"greeting": 5}, "an object of rates"),
        ([], "an object of rates"),
    ],
)
async def test_rates_that_break_a_rule_are_refused(rates: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Settings(graph_rates=json_of(rates))


async def test_a_rate_of_no_graph_is_refused(shared_mesh: Mesh, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="GRAPH_RATES: no graph is called missing"):
        async with serve_orchestrator(
            tmp_path, shared_mesh.billing, graph_rates=json_of({"missing": RATES["greeting"]})
        ):
            pass


async def test_services_count_the_client_of_a_run(mesh: Mesh) -> None:
    """The program through which it was created: its claim reaches the services with each call."""

    async def pay(client: str) -> pb.Run:
        request = pb.ExecuteRunRequest(run=run_request("pay", {"invoice_id": "in_none", "amount": 10}))
        return (await mesh.call(pb.RunService.ExecuteRun, request, client=client)).run

    assert [reason(await pay(client)) for client in ("web", "phone")] == ["RESOURCE_NOT_FOUND"] * 2
    assert reason(await pay("web")) == "RATE_LIMITED"
