"""Budgets of runs: steps, tokens and cost."""

from typing import Any

import pytest
from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.mesh import Mesh, reason

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def run_three_nodes(mesh: Mesh, **ceilings: int) -> pb.Run:
    """Run three nodes, each of which uses 100 tokens for 500 millionths of a dollar, within these ceilings."""
    return await mesh.wait(await mesh.create("thinking", {"name": "x"}, ceilings=pb.Ceilings(**ceilings)))


@pytest.mark.parametrize(
    ("ceilings", "expected", "steps"),
    [
        ({"max_steps": 2}, "STEP_LIMIT", 2),
        ({"max_tokens": 100}, "TOKEN_LIMIT", 1),
        ({"max_tokens": 101}, "TOKEN_LIMIT", 2),
        ({"max_cost_micro_usd": 1000}, "BUDGET_EXCEEDED", 2),
        ({"max_cost_micro_usd": 1, "max_tokens": 1, "max_steps": 1}, "BUDGET_EXCEEDED", 1),
    ],
)
async def test_used_up_budget_ends_the_run(mesh: Mesh, ceilings: dict[str, Any], expected: str, steps: int) -> None:
    """After the superstep that reaches a limit, with the reason of the limit. The run has its usage."""
    run = await run_three_nodes(mesh, **ceilings)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, expected)
    used = (run.usage.steps, run.usage.input_tokens, run.usage.output_tokens, run.usage.cost_micro_usd)
    assert used == (steps, 60 * steps, 40 * steps, 500 * steps)


@pytest.mark.parametrize("ceilings", [{}, {"max_steps": 3}, {"max_tokens": 300}, {"max_cost_micro_usd": 9000}])
async def test_limit_reached_by_the_last_node_is_no_error(mesh: Mesh, ceilings: dict[str, Any]) -> None:
    run = await run_three_nodes(mesh, **ceilings)
    assert (run.status, run.usage.steps) == (pb.RunStatus.RUN_STATUS_SUCCESS, 3)


async def test_usage_is_counted_across_resumptions(mesh: Mesh) -> None:
    """Two interrupts resume the node twice; the usage of earlier executions of the run counts."""
    run = await mesh.wait(await mesh.create("ask_twice", {"name": "x"}, ceilings=pb.Ceilings(max_steps=3)))
    for _ in range(2):
        await mesh.resume(run, {interrupt.interrupt_id: 1 for interrupt in run.interrupts})
        run = await mesh.wait(run)
    assert (reason(run), run.usage.steps) == ("STEP_LIMIT", 3)
