"""Roles from one file, at the edge and in the orchestrator: each refuses where the other is bypassed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis import testing
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError, ScopeMissing
from graphmesh_chassis.settings import SecretUrl
from graphmesh_chassis.status import from_status
from graphmesh_contracts import to_struct
from graphmesh_local import topology_watcher
from graphmesh_local.development_issuer import issue_token, with_development_issuer
from graphmesh_local.state_folder import StateFolder
from graphmesh_local.topology_watcher import MeshSource
from graphmesh_mesh.envoy.folder import write
from graphmesh_mesh.errors import MeshError
from graphmesh_orchestrator.__main__ import build
from graphmesh_orchestrator.errors import GraphNotFound
from graphmesh_orchestrator.settings import Settings

from tests.integration.envoy.envoy_harness import running_envoy

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAPH = """
from graphmesh.billing.v1 import BillingService, GetChargeRequest
from graphmesh_nodes import call
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

class State(TypedDict, total=False):
    asks: bool

async def charge(state):
    if state.get("asks"):
        interrupt("continue?")
    await call(BillingService.GetCharge, GetChargeRequest(charge_id="ch_1"))
    return {}

graph = StateGraph(State)
graph.add_node("charge", charge)
graph.add_edge(START, "charge")
"""
ORCHESTRATOR = ("RunService", *(f"{name}Service" for name in ("Thread", "Store", "Assistant", "Schedule", "Approval")))
PACKAGE = "graphmesh.orchestrator.v1"
SERVICES = {
    "orchestrator": {
        "service": f"{PACKAGE}.RunService",
        "beside": [f"{PACKAGE}.{name}" for name in ORCHESTRATOR[1:]],
        "module": "graphmesh_orchestrator",
        "port": 4,
    },
    "billing": {"service": "graphmesh.billing.v1.BillingService", "module": "graphmesh_billing", "port": 5},
}
MESH = {
    "edge": {"port": 1},
    "mesh": {"port": 2},
    "admin": {"port": 3},
    "roles": "roles.yaml",
    "services": SERVICES,
}
EVERYTHING = {"scopes": ["*"], "graphs": ["*"], "tools": ["*"], "approvals": ["*"]}
ROLES: dict[str, Any] = {
    "agent": {},
    "runner": {"scopes": ["runs.read", "runs.write"], "graphs": ["charge"]},
    "operator": {"scopes": ["runs.read", "runs.write"]},
    "admin": EVERYTHING,
}


@dataclass
class RoleMesh:
    """An edge with tokens, an orchestrator behind it, and no billing service."""

    source: MeshSource
    folder: StateFolder
    edge: Channel
    orchestrator: Channel
    """Without the edge."""

    def edit(self, roles: dict[str, Any]) -> str:
        """Edit the file of roles as a user does, and apply it as the running mesh does."""
        (self.source.path.parent / "roles.yaml").write_text(yaml.safe_dump({"roles": roles}))
        return topology_watcher._apply(self.source, self.folder)

    async def at_edge(self, role: str, rpc: Any, request: Any) -> Any:
        token = issue_token(self.folder, "acme", "mira", [role], 600)
        headers = [("authorization", f"Bearer {token}")]
        return await self.edge.unary(rpc, request, deadline=Deadline.after(60), headers=headers)

    async def inside(self, roles: str | None, rpc: Any, request: Any) -> Any:
        """Call the orchestrator itself as the edge would, with every scope."""
        names = {"tenant": "acme", "subject": "mira", "scopes": "runs.read runs.write"}
        names |= {} if roles is None else {"roles": roles}
        headers = [(f"x-graphmesh-{name}", value) for name, value in names.items()]
        return await self.orchestrator.unary(rpc, request, deadline=Deadline.after(60), headers=headers)


def run_request(*, asks: bool = False, thread_id: str = "") -> pb.CreateRunRequest:
    request = pb.CreateRunRequest(graph="charge", thread_id=thread_id)
    request.input.update({"asks": asks})
    return request


def execute_request(**fields: Any) -> pb.ExecuteRunRequest:
    return pb.ExecuteRunRequest(run=run_request(**fields))


def schedule_request() -> pb.CreateScheduleRequest:
    return pb.CreateScheduleRequest(spec=pb.ScheduleSpec(run=run_request(), cron="0 9 * * *"))


def error_of(run: pb.Run) -> str:
    return from_status(run.error).reason if run.HasField("error") else ""


async def reason_of(call: Any) -> str:
    """Return the reason of a refused call; empty where it succeeds."""
    try:
        await call
    except GraphmeshError as error:
        return error.reason
    return ""


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RoleMesh]:
    folder: Path = tmp_path_factory.mktemp("roles")
    (folder / "charge.py").write_text(GRAPH)
    (folder / "langgraph.json").write_text('{"dependencies": ["."], "graphs": {"charge": "./charge.py:graph"}}')
    (folder / "mesh.yaml").write_text(yaml.safe_dump(MESH))
    (folder / "roles.yaml").write_text(yaml.safe_dump({"roles": ROLES}))
    state = StateFolder(folder / "state")
    with state.locked():
        tokens = partial(with_development_issuer, folder=state)
        source = MeshSource(folder / "mesh.yaml", "", True, tokens, folder / "langgraph.json")
        topology = source.start()
        write(state.path, source.role_files(topology))
        settings = Settings(
            database_url=SecretUrl(f"sqlite+aiosqlite:///{folder}/runs.db"),
            graphs=folder / "langgraph.json",
            identity="required",
            listen=topology.services["orchestrator"].replica_listeners[0].target,
            mesh=topology.mesh.target,
            roles=state.roles,
        )
        async with (
            build(settings) as servable,
            testing.running(servable, settings) as served,
            running_envoy(tokens(topology), state.path),
            Channel(topology.edge.target) as edge,
        ):
            made = RoleMesh(source, state, edge, served.channel)
            await eventually(partial(is_served, made))
            yield made


async def is_served(mesh: RoleMesh) -> bool:
    return await reason_of(mesh.at_edge("admin", pb.RunService.ListGraphs, pb.ListGraphsRequest())) == ""


async def test_one_edit_changes_the_edge_the_graphs_and_the_tools(mesh: RoleMesh) -> None:
    """What each refuses before it passes after it, and the other way round. Billing is not there: a call that leaves
    ends with CIRCUIT_OPEN."""

    async def refusals() -> list[str]:
        run = (await mesh.inside("runner agent", pb.RunService.ExecuteRun, execute_request())).run
        return [
            await reason_of(mesh.at_edge("agent", pb.RunService.ListRuns, pb.ListRunsRequest())),
            await reason_of(mesh.inside("agent", pb.RunService.CreateRun, run_request())),
            error_of(run),
        ]

    refused = ["SCOPE_MISSING", "GRAPH_NOT_ALLOWED", "TOOL_NOT_ALLOWED"]
    for right, expected in ((EVERYTHING, ["", "", "CIRCUIT_OPEN"]), ({}, refused)):
        assert await refusals() != expected
        result = mesh.edit({**ROLES, "agent": right})
        assert result == ": Envoy reloads ecds-roles.yaml, orchestrators reload the roles"

        async def is_applied(expected: list[str] = expected) -> bool:
            return await refusals() == expected

        await eventually(is_applied)


async def test_an_edit_with_a_name_that_does_not_exist_changes_nothing(mesh: RoleMesh) -> None:
    """Neither at the edge nor in the orchestrator."""
    before = mesh.folder.roles.read_bytes()
    for wrong, problem in (
        ({"graphs": ["chrage"]}, "roles.agent.graphs.0: no graph is called chrage"),
        ({"tools": ["billing.GetCharges"]}, "roles.agent.tools.0: no tool is called billing.GetCharges"),
    ):
        with pytest.raises(MeshError, match=problem):
            mesh.edit({**ROLES, "agent": wrong})
    assert mesh.folder.roles.read_bytes() == before
    mesh.edit(ROLES)


async def test_the_edge_refuses_what_the_orchestrator_would_answer(mesh: RoleMesh) -> None:
    """The error names the scopes."""
    assert await reason_of(mesh.inside("agent", pb.RunService.ListRuns, pb.ListRunsRequest())) == ""
    with pytest.raises(ScopeMissing) as refused:
        await mesh.at_edge("agent", pb.RunService.ExecuteRun, execute_request())
    assert dict(refused.value.data) == {"scopes": "runs.read runs.write"}


CALLS: dict[str, Callable[[str, str], tuple[Any, Any]]] = {
    "CreateRun": lambda run, thread: (pb.RunService.CreateRun, run_request()),
    "ExecuteRun": lambda run, thread: (pb.RunService.ExecuteRun, execute_request()),
    "ResumeRun": lambda run, thread: (pb.RunService.ResumeRun, pb.ResumeRunRequest(run_id=run)),
    "UpdateThreadState": lambda run, thread: (
        pb.ThreadService.UpdateThreadState,
        pb.UpdateThreadStateRequest(thread_id=thread, as_node="charge"),
    ),
    "CreateSchedule": lambda run, thread: (pb.ScheduleService.CreateSchedule, schedule_request()),
    "TriggerSchedule": lambda run, thread: (
        pb.ScheduleService.TriggerSchedule,
        pb.TriggerScheduleRequest(schedule_id="daily"),
    ),
    "ResumeSchedule": lambda run, thread: (
        pb.ScheduleService.ResumeSchedule,
        pb.ResumeScheduleRequest(schedule_id="daily"),
    ),
    "UpdateSchedule": lambda run, thread: (
        pb.ScheduleService.UpdateSchedule,
        pb.UpdateScheduleRequest(schedule_id="daily", spec=schedule_request().spec),
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parked(mesh: RoleMesh) -> tuple[str, str]:
    """The id of a run that waits for an answer, and that of its thread; there is a schedule too."""
    schedule = schedule_request()
    schedule.schedule_id = "daily"
    await mesh.inside("admin", pb.ScheduleService.CreateSchedule, schedule)
    run = (await mesh.inside("admin", pb.RunService.ExecuteRun, execute_request(asks=True))).run
    assert run.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
    return run.run_id, run.thread_id


@pytest.mark.parametrize("roles", ["operator", "unknown", "", None])
@pytest.mark.parametrize("name", CALLS)
async def test_the_orchestrator_refuses_graphs_that_no_role_may_run(
    mesh: RoleMesh, parked: tuple[str, str], name: str, roles: str | None
) -> None:
    """Each call that begins or continues a run, also with every scope; so does one without roles."""
    rpc, request = CALLS[name](*parked)
    if name == "ResumeRun":
        run = (await mesh.inside("admin", pb.RunService.GetRun, pb.GetRunRequest(run_id=parked[0]))).run
        request.answers[run.interrupts[0].interrupt_id].string_value = "yes"
    assert await reason_of(mesh.inside(roles, rpc, request)) == "GRAPH_NOT_ALLOWED"


async def test_a_caller_sees_the_graphs_that_it_may_run(mesh: RoleMesh) -> None:
    for role, names in (("runner", ["charge"]), ("operator", list[str]())):
        found = await mesh.inside(role, pb.RunService.ListGraphs, pb.ListGraphsRequest())
        assert [graph.name for graph in found.graphs] == names


@pytest.mark.parametrize(
    ("rpc", "request_type"),
    [
        (pb.RunService.CreateRun, pb.CreateRunRequest),
        (pb.ThreadService.CreateThread, pb.CreateThreadRequest),
        (pb.AssistantService.CreateAssistant, pb.CreateAssistantRequest),
    ],
    ids=lambda value: getattr(value, "tool", ""),
)
async def test_an_error_names_no_graph_that_a_caller_may_not_run(mesh: RoleMesh, rpc: Any, request_type: Any) -> None:
    for role, names in (("runner", "charge"), ("operator", "none"), (None, "none")):
        with pytest.raises(GraphNotFound) as refused:
            await mesh.inside(role, rpc, request_type(graph="unknown"))
        assert refused.value.data["registered"] == names


async def test_a_tick_has_the_roles_of_whoever_specified_the_schedule(mesh: RoleMesh) -> None:
    """And not those of the worker that creates the run."""
    schedule = schedule_request()
    schedule.schedule_id, schedule.spec.cron = "soon", ""
    schedule.spec.interval.seconds = 60
    schedule.spec.start_time.GetCurrentTime()
    schedule.spec.start_time.seconds += 1
    await mesh.inside("runner", pb.ScheduleService.CreateSchedule, schedule)
    ended: list[pb.Run] = []

    async def has_ended() -> bool:
        request = pb.GetScheduleRequest(schedule_id="soon")
        run_id = (await mesh.inside("admin", pb.ScheduleService.GetSchedule, request)).schedule.last_run_id
        if run_id:
            ended[:] = [(await mesh.inside("admin", pb.RunService.WaitRun, pb.WaitRunRequest(run_id=run_id))).run]
        return bool(ended)

    await eventually(has_ended)
    assert error_of(ended[0]) == "TOOL_NOT_ALLOWED"


@pytest.mark.parametrize("namespace", [["policies", "charge"], ["policies"], ["notes"]], ids=" ".join)
async def test_policies_of_agents_need_a_scope_of_their_own(mesh: RoleMesh, namespace: list[str]) -> None:
    """Callers who may run an agent may not set what it may do."""
    stored = pb.PutItemRequest(namespace=namespace, key="policy", value=to_struct({"a": 1}))
    deleted = pb.DeleteItemRequest(namespace=namespace, key="policy")
    expected = "" if namespace == ["notes"] else "SCOPE_MISSING"
    assert await reason_of(mesh.inside("admin", pb.StoreService.PutItem, stored)) == expected
    assert await reason_of(mesh.inside("admin", pb.StoreService.DeleteItem, deleted)) == expected
