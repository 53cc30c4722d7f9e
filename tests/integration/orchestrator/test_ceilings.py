"""What a run may use, and how it ends where that is used up (B6)."""

from typing import Any

import pytest
from graphmesh.orchestrator import v1 as pb

from tests.integration.orchestrator.kit import Kit
from tests.integration.orchestrator.test_runs import reason


async def ended(kit: Kit, **ceilings: int) -> pb.Run:
    """A run of three nodes, each of which uses 100 tokens for 500 millionths of a dollar."""
    run = await kit.create("thinking", {"name": "x"}, ceilings=pb.Ceilings(**ceilings))
    return await kit.stopped(run.run_id)


@pytest.mark.parametrize(
    ("ceilings", "why", "steps"),
    [
        ({"max_steps": 2}, "STEP_LIMIT", 2),
        ({"max_tokens": 100}, "TOKEN_LIMIT", 1),
        ({"max_tokens": 101}, "TOKEN_LIMIT", 2),
        ({"max_cost_micro_usd": 1000}, "BUDGET_EXCEEDED", 2),
        ({"max_cost_micro_usd": 1, "max_tokens": 1, "max_steps": 1}, "BUDGET_EXCEEDED", 1),
    ],
)
async def test_a_ceiling_ends_the_run(kit: Kit, ceilings: dict[str, Any], why: str, steps: int) -> None:
    """After the superstep in which it is reached, with a reason of its own; what was used is told."""
    run = await ended(kit, **ceilings)
    assert (run.status, reason(run)) == (pb.RunStatus.RUN_STATUS_ERROR, why)
    used = (run.usage.steps, run.usage.input_tokens, run.usage.output_tokens, run.usage.cost_micro_usd)
    assert used == (steps, 60 * steps, 40 * steps, 500 * steps)


@pytest.mark.parametrize("ceilings", [{}, {"max_steps": 3}, {"max_tokens": 300}, {"max_cost_micro_usd": 9000}])
async def test_what_is_enough_is_enough(kit: Kit, ceilings: dict[str, Any]) -> None:
    """A run that reaches its ceiling with its last node has ended by itself."""
    run = await ended(kit, **ceilings)
    assert (run.status, run.usage.steps) == (pb.RunStatus.RUN_STATUS_SUCCESS, 3)


async def test_ceilings_hold_over_resumptions(kit: Kit) -> None:
    """Two questions resume the node twice: what the executions before have used counts."""
    begun = await kit.create("ask_twice", {"name": "x"}, ceilings=pb.Ceilings(max_steps=3))
    run = await kit.stopped(begun.run_id)
    for _ in range(2):
        await kit.resume(run.run_id, {asked.interrupt_id: 1 for asked in run.interrupts})
        run = await kit.stopped(run.run_id)
    assert (reason(run), run.usage.steps) == ("STEP_LIMIT", 3)
