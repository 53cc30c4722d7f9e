"""A short trial: processes are killed and frozen while runs charge money and open tickets (C1, C2, C3, E1, E2)."""

from pathlib import Path

import pytest
from graphmesh_cli.chaos.schedule import Act, plan
from graphmesh_cli.chaos.trial import trial

pytestmark = pytest.mark.timeout(300)

SEED = 335
RUNS = 32


async def test_whatever_dies_every_run_charges_once(tmp_path: Path) -> None:
    """All processes of the mesh die at least once, the orchestrator also outlives its lease: nothing is lost or done
    twice, and runs go on."""
    planned = plan(SEED, runs=RUNS, seconds=18, faults=7)
    struck = {(fault.target, fault.act) for fault in planned.faults}
    assert struck >= STRUCK
    verdict = await trial(planned, tmp_path)
    assert verdict.violations == []
    assert len(verdict.facts.runs) == len(verdict.facts.charges) == len(verdict.facts.tickets) == RUNS
    assert verdict.recovery


STRUCK = {
    ("orchestrator", Act.KILL),
    ("orchestrator", Act.FREEZE),
    ("billing", Act.KILL),
    ("ticketing", Act.KILL),
    ("envoy", Act.KILL),
}
