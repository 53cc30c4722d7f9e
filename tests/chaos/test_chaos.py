"""Short trials: processes are killed and frozen while runs charge money and open tickets (C1, C2, C3, E1, E2)."""

from pathlib import Path

import pytest
from graphmesh_cli.backends import postgres
from graphmesh_cli.chaos.schedule import Act, Plan, plan
from graphmesh_cli.chaos.trial import Verdict, trial

pytestmark = pytest.mark.timeout(300)

RUNS, SECONDS, FAULTS = 32, 18, 7
STRUCK = {
    ("orchestrator", Act.KILL),
    ("orchestrator", Act.FREEZE),
    ("billing", Act.KILL),
    ("ticketing", Act.KILL),
    ("envoy", Act.KILL),
}
"""What each trial has in it: all processes die, and an orchestrator outlives its lease."""


def planned(seed: int, orchestrators: int) -> Plan:
    made = plan(seed, runs=RUNS, seconds=SECONDS, faults=FAULTS, orchestrators=orchestrators)
    assert {(fault.target.partition("-")[0], fault.act) for fault in made.faults} >= STRUCK
    return made


def assert_sound(verdict: Verdict) -> None:
    """All runs ended well, nothing was lost or done twice, and runs had to be taken over."""
    assert verdict.violations == []
    assert len(verdict.facts.runs) == len(verdict.facts.charges) == len(verdict.facts.tickets) == RUNS
    assert max(run.epoch for run in verdict.facts.runs) > 1


async def test_one_orchestrator_on_sqlite(tmp_path: Path) -> None:
    """What dies is started again and goes on with its runs."""
    verdict = await trial(planned(335, 1), tmp_path)
    assert_sound(verdict)
    assert verdict.recovery


async def test_two_orchestrators_on_postgresql(tmp_path: Path) -> None:
    """The one goes on with the runs of the other, which changes nothing when it is back; both survive a crash of
    PostgreSQL, which keeps what it has committed: the server that other tests share does not."""
    made = planned(13563, 2)
    assert "postgres" in {fault.target for fault in made.faults}
    async with postgres() as server:
        verdict = await trial(made, tmp_path, orchestrators=2, server=server)
    assert_sound(verdict)
