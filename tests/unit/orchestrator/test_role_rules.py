"""The graphs and tools of roles: what is refused, from the creation of a run to its last call."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from graphmesh.billing.v1 import BillingService, RefundRequest
from graphmesh_chassis import reread_file
from graphmesh_chassis.settings import BadSetting
from graphmesh_nodes import call, degrade, remote
from graphmesh_nodes.errors import ToolNotAllowed
from graphmesh_orchestrator.errors import GraphNotAllowed
from graphmesh_orchestrator.roles import NO_RULES, RoleRules
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run
from langgraph.types import interrupt

from tests.unit.orchestrator.memory_orchestrator import GRAPH, error_of, open_orchestrator
from tests.unit.orchestrator.test_executor import a_run
from tests.unit.orchestrator.test_open_effects import CENT, REFUNDED, State, graph_of

REFUND = BillingService.Refund
REQUEST = RefundRequest(charge_id="ch_1", amount=CENT, cause="damaged")


def role(
    graphs: Sequence[str] = (), tools: Sequence[str] = (), scopes: Sequence[str] = ()
) -> Mapping[str, Sequence[str]]:
    return {"graphs": graphs, "tools": tools, "scopes": scopes}


ROLES = {
    "agent": role([GRAPH], ["billing.Refund", "model"]),
    "reader": role([GRAPH], ["billing.GetCharge"], ["hr.read"]),
    "operator": role(),
    "admin": role(["*"], ["*"]),
    "runner": role([], ["orchestrator"]),
}
TOOLS = ("billing.Refund", "billing.GetCharge", "model.Generate", "models.Generate", "orchestrator.CancelRun")


def write(path: Path, roles: Mapping[str, Any]) -> Path:
    """Write the file of roles as `graphmesh up` does: it is moved into place."""
    (path / "new").write_text(json.dumps(roles))
    (path / "new").replace(path / "roles.json")
    return path / "roles.json"


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RoleRules:
    monkeypatch.setattr(reread_file, "CHECK_SECONDS", 0)
    return RoleRules(write(tmp_path, ROLES), [GRAPH], required=True)


@pytest.mark.parametrize(
    ("roles", "may_run", "tools"),
    [
        (["agent"], True, {"billing.Refund", "model.Generate"}),
        (["reader"], True, {"billing.GetCharge"}),
        (["reader", "agent"], True, {"billing.Refund", "billing.GetCharge", "model.Generate"}),
        (["operator"], False, set[str]()),
        (["operator", "unknown"], False, set[str]()),
        (["runner"], False, {"orchestrator.CancelRun"}),
        (["admin"], True, {"billing.Refund", "billing.GetCharge", "model.Generate", "models.Generate"}),
        ([], False, set[str]()),
        (None, False, set[str]()),
    ],
)
def test_a_caller_may_do_what_any_of_its_roles_may(
    rules: RoleRules, roles: list[str] | None, may_run: bool, tools: set[str]
) -> None:
    """A caller without roles, or with roles that the file does not have, may do nothing. The run API is not among all
    tools: it has to be named."""
    assert rules.may_run(roles, GRAPH) is may_run
    allowed = set[str]()
    for tool in TOOLS:
        try:
            rules.require_tool(roles, tool)
        except ToolNotAllowed:
            continue
        allowed.add(tool)
    assert allowed == tools


def test_the_local_developer_may_do_everything(tmp_path: Path) -> None:
    """A call without roles is its own, unless callers have to be identified. One with roles needs a file of them."""
    for rules in (NO_RULES, RoleRules(write(tmp_path, ROLES), [GRAPH])):
        rules.require_graph(None, GRAPH)
        rules.require_tool(None, "billing.Refund")
    with pytest.raises(GraphNotAllowed):
        NO_RULES.require_graph(["admin"], GRAPH)


def test_an_edit_holds_from_the_next_call_on(rules: RoleRules, tmp_path: Path) -> None:
    """A broken one changes nothing."""
    write(tmp_path, {"agent": role()})
    assert not rules.may_run(["agent"], GRAPH)
    assert rules.scopes(["reader"]) == frozenset()
    write(tmp_path, ROLES)
    assert rules.may_run(["agent"], GRAPH)
    assert rules.scopes(["reader", "agent"]) == {"hr.read"}
    broken_files: Sequence[Mapping[str, Any]] = ({"agent": {"graphs": []}}, {"agent": role(["other"])})
    for broken in broken_files:
        write(tmp_path, broken)
        assert rules.may_run(["agent"], GRAPH)
    (tmp_path / "roles.json").unlink()
    assert rules.may_run(["agent"], GRAPH)


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ({"agent": role(["refnud"])}, "agent.graphs: no graph is called refnud"),
        ({"agent": {**role(), "tolls": []}}, "agent.tolls: Extra inputs are not permitted"),
        ({"agent": {"graphs": []}}, "agent.tools: Field required"),
    ],
)
def test_a_broken_file_ends_the_start(tmp_path: Path, roles: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(BadSetting, match=f"GRAPHMESH_ORCHESTRATOR_ROLES: .*roles.json: {problem}"):
        RoleRules(write(tmp_path, roles), [GRAPH])


async def refund(state: State) -> State:
    await call(REFUND, REQUEST)
    return {"refunds": 1}


async def executed(node: Any, rules: RoleRules, roles: list[str] | None) -> tuple[Run, list[str]]:
    """Execute a run of a graph with one node; returns its end, and the tools that were called."""
    async with open_orchestrator(graph_of(node)) as here:
        here.roles = rules
        here.mesh.serve(REFUND, lambda request: REFUNDED)
        run = await here.worker().execute(a_run(input={}, roles=roles))
        return run, [one.rpc.tool for one in here.mesh.calls]


async def test_a_refused_tool_ends_the_run_and_nothing_is_sent(rules: RoleRules) -> None:
    run, calls = await executed(refund, rules, ["reader"])
    error = error_of(run)
    data = {"tool": "billing.Refund", "roles": "reader", "allowed": "admin agent"}
    assert (error.reason, dict(error.data)) == ("TOOL_NOT_ALLOWED", data)
    assert "the roles that may have billing.Refund called: admin agent: nothing was sent" in error.message
    assert (run.status, calls, run.state.open_effects) == (RunStatus.ERROR, [], {})
    run, calls = await executed(refund, rules, ["agent"])
    assert (run.status, calls) == (RunStatus.SUCCESS, ["billing.Refund"])


async def test_calls_carry_the_scopes_of_the_caller_that_no_contract_declares(rules: RoleRules) -> None:
    """Besides those of the method: services check them themselves, such as retrieval the readers of documents."""
    async with open_orchestrator(graph_of(refund)) as here:
        here.roles = rules
        here.mesh.serve(REFUND, lambda request: REFUNDED)
        worker = here.worker()
        for run_id, roles, scopes in (
            ("run_1", ["agent"], "billing.refund"),
            ("run_2", ["agent", "reader"], "billing.refund hr.read"),
        ):
            run = await worker.execute(a_run(run_id=run_id, input={}, roles=roles))
            assert run.status is RunStatus.SUCCESS
            assert here.mesh.calls[-1].headers["x-graphmesh-scopes"] == scopes


async def test_a_refused_tool_can_be_a_refusal_of_a_remote_node(rules: RoleRules) -> None:
    node = remote(
        REFUND,
        request=lambda state: REQUEST,
        update=lambda state, response: {"refunds": 1},
        refusals={ToolNotAllowed: degrade(lambda state, error: {"refunds": 0})},
    )
    run, calls = await executed(node, rules, ["reader"])
    assert (run.status, run.state.output, calls) == (RunStatus.SUCCESS, {"refunds": 0}, [])


async def test_a_graph_that_no_role_has_is_refused_before_the_run_is_stored(rules: RoleRules) -> None:
    with pytest.raises(GraphNotAllowed) as refused:
        await executed(refund, rules, ["operator"])
    assert dict(refused.value.data) == {"graph": GRAPH, "roles": "operator", "allowed": "admin agent reader"}


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (None, "The caller has no role; the roles that may run the graph pay: admin agent reader"),
        ([], "The caller has no role; the roles that may run the graph pay: admin agent reader"),
        (
            ["operator", "clerk"],
            "The caller has the roles operator clerk, of which the file of roles does not have clerk; "
            "the roles that may run the graph pay: admin agent reader",
        ),
    ],
)
async def test_a_refusal_states_who_could(rules: RoleRules, roles: list[str] | None, message: str) -> None:
    with pytest.raises(GraphNotAllowed) as refused:
        await executed(refund, rules, roles)
    assert refused.value.message == message


async def test_a_role_that_is_deleted_during_a_run_has_no_tool(rules: RoleRules, tmp_path: Path) -> None:
    async def delete_role(state: State) -> State:
        write(tmp_path, {"admin": role(["*"], ["*"])})
        return await refund(state)

    run, calls = await executed(delete_role, rules, ["agent"])
    assert (error_of(run).reason, error_of(run).data["allowed"], calls) == ("TOOL_NOT_ALLOWED", "admin", [])
    assert "of which the file of roles does not have agent" in error_of(run).message


async def test_a_parked_run_is_checked_by_the_roles_of_today(rules: RoleRules, tmp_path: Path) -> None:
    """On another worker too: the run has its roles, and the file their rights."""

    async def ask(state: State) -> State:
        interrupt("continue?")
        return await refund(state)

    without_agent = {name: rights for name, rights in ROLES.items() if name != "agent"}
    for edited, reason, could in (
        ({**ROLES, "agent": role([GRAPH])}, "TOOL_NOT_ALLOWED", "have billing.Refund called: admin"),
        ({**ROLES, "agent": role([], ["*"])}, "GRAPH_NOT_ALLOWED", "run the graph pay: admin reader"),
        (without_agent, "GRAPH_NOT_ALLOWED", "does not have agent; the roles that may run the graph pay: admin reader"),
    ):
        async with open_orchestrator(graph_of(ask)) as here:
            here.roles = rules
            write(tmp_path, ROLES)
            run = await here.worker().execute(a_run(input={}, roles=["agent"]))
            assert run.status is RunStatus.INTERRUPTED
            [interrupts] = (await here.interrupts.open([run.run_id])).values()
            await here.interrupts.answer("acme", run.run_id, {interrupts[0].interrupt_id: "yes"}, "ana")
            write(tmp_path, edited)
            other = here.worker("two")
            ended = await other.stopped(await other.claim())
            assert (ended.status, error_of(ended).reason) == (RunStatus.ERROR, reason)
            assert could in error_of(ended).message
            assert not here.mesh.calls
