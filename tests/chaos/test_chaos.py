"""Short trials: processes die and freeze while runs ask people, charge money and open tickets (B8, C1–C3, E1, E2)."""

from pathlib import Path

import pytest
from graphmesh_chaos.schedule import Act, Plan, plan
from graphmesh_chaos.storm import POLICY, SETTINGS, storm
from graphmesh_chaos.trial import PROGRAMS, Verdict, trial
from graphmesh_local.databases import servers
from graphmesh_local.fork_client import forking

pytestmark = pytest.mark.timeout(300)

RUNS = 32
DEATHS, STORM_RUNS = 200, 100
STRUCK = {
    ("orchestrator", Act.KILL),
    ("orchestrator", Act.FREEZE),
    ("billing", Act.KILL),
    ("ticketing", Act.KILL),
    ("envoy", Act.KILL),
}
"""What each trial has in it: all processes die, and an orchestrator outlives its lease."""
SHARED_STRUCK = {
    ("orchestrator", Act.STOP),
    ("orchestrator", Act.DROP),
    ("postgres", Act.CRASH),
    ("redis", Act.KILL),
}


def struck(plan: Plan) -> set[tuple[str, Act]]:
    return {(fault.target.partition("-")[0], fault.act) for fault in plan.faults}


def assert_sound(verdict: Verdict, runs: int = RUNS) -> None:
    """All runs ended well, nothing was lost or done twice, some outlived their orchestrator, and people were asked."""
    assert verdict.violations == []
    assert len(verdict.facts.runs) == len(verdict.facts.tickets) == runs
    assert len(verdict.facts.charges) == sum(bool(run.charge_id) for run in verdict.facts.runs) > 0
    assert max(run.epoch for run in verdict.facts.runs) > 1
    assert verdict.facts.answers


async def test_one_orchestrator_on_sqlite(tmp_path: Path) -> None:
    """What dies is started again and goes on with its runs."""
    made = plan(19104, runs=RUNS, seconds=5, faults=6)
    assert struck(made) >= STRUCK
    async with forking(PROGRAMS) as spawn:
        verdict = await trial(made, tmp_path, spawn=spawn)
    assert_sound(verdict)


async def test_three_orchestrators_on_postgresql(tmp_path: Path) -> None:
    """The ones go on with the runs of the other, which changes nothing when it is back; all survive a crash of
    PostgreSQL, which keeps what it has committed, and the loss of Redis, which keeps nothing."""
    made = plan(17513, runs=RUNS, seconds=15, faults=14, orchestrators=3)
    assert struck(made) >= STRUCK | SHARED_STRUCK
    async with servers() as shared, forking(PROGRAMS) as spawn:
        verdict = await trial(made, tmp_path, orchestrators=3, shared=shared, spawn=spawn)
    assert_sound(verdict)


async def test_hundreds_of_deaths(tmp_path: Path) -> None:
    """A process has hardly come back when it dies again, and most deaths stop something."""
    made = storm(4, runs=STORM_RUNS, seconds=30, faults=DEATHS, orchestrators=3)
    async with servers() as shared, forking(PROGRAMS) as spawn:
        verdict = await trial(
            made, tmp_path, orchestrators=3, shared=shared, settings=SETTINGS, policy=POLICY, spawn=spawn
        )
    assert_sound(verdict, STORM_RUNS)
    assert [death.fault.act for death in verdict.injected] == [Act.KILL] * DEATHS
    assert sum(death.hit for death in verdict.injected) > DEATHS / 2
