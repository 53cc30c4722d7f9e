"""The checker can fail: an invariant is broken on purpose, from outside of the product, and the trial finds it."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from graphmesh_chaos.facts import ASKED_FROM
from graphmesh_chaos.schedule import Act, Fault, Plan, Submission
from graphmesh_chaos.trial import Verdict, trial

pytestmark = pytest.mark.timeout(300)

SABOTAGE = Path(__file__).parent / "sabotage"
RUNS = 3
DEATH = Fault(2.5, "orchestrator", Act.KILL, 0.1)


def some_runs(at: float) -> list[Submission]:
    return [Submission(at, number, amount=10_00, copies=1) for number in range(RUNS)]


def sabotaged(name: str) -> dict[str, str]:
    """Settings with which servers import the sabotage at their start."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(SABOTAGE / name), os.environ.get("PYTHONPATH", "")]))}


def broken(verdict: Verdict) -> set[str]:
    return {violation.rule for violation in verdict.violations}


def charges(verdict: Verdict) -> Counter[str]:
    return Counter(charge.invoice_id for charge in verdict.facts.charges)


async def test_a_charge_without_its_key_is_found(tmp_path: Path) -> None:
    """Billing drops the effect row of its transaction; nothing else happens (E2)."""
    plan = Plan(faults=[], submissions=some_runs(0))
    verdict = await trial(plan, tmp_path, settings=sabotaged("forgetful_billing"))
    assert broken(verdict) == {"effects_are_recorded"}


async def test_effects_without_a_fence_are_found(tmp_path: Path) -> None:
    """Billing takes effects of any epoch, and so remembers none (C2)."""
    plan = Plan(faults=[], submissions=some_runs(0))
    verdict = await trial(plan, tmp_path, settings=sabotaged("unfenced_billing"))
    assert broken(verdict) == {"epochs_are_seen"}


async def test_charges_without_an_approval_are_found(tmp_path: Path) -> None:
    """The orchestrator asks nobody before it charges (B8)."""
    plan = Plan(faults=[], submissions=[replace(one, amount=ASKED_FROM) for one in some_runs(0)])
    verdict = await trial(plan, tmp_path, settings=sabotaged("unasked"))
    assert broken(verdict) == {"agreed_to"}


async def test_checkpoints_after_effects_are_found(tmp_path: Path) -> None:
    """Without the write-ahead rule, a run that has charged when the orchestrator dies charges again (E4)."""
    waiting_for_its_ticket = [Fault(0, "ticketing", Act.FREEZE, 4), DEATH]
    plan = Plan(waiting_for_its_ticket, some_runs(0.5))
    verdict = await trial(plan, tmp_path, settings=sabotaged("late_checkpoints"))
    assert "charged_once" in broken(verdict)
    assert max(charges(verdict).values()) == 2


async def test_a_key_of_the_graphs_own_is_found(tmp_path: Path) -> None:
    """A key that is new in each execution charges once for each death (E1)."""
    verdict = await trial(Plan([DEATH], some_runs(0)), tmp_path, graph=SABOTAGE / "fresh_keys.py")
    assert "charged_once" in broken(verdict)
    assert len(verdict.recovery) == RUNS
    assert max(charges(verdict).values()) == 2
