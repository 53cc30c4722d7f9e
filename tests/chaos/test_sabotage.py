"""The checker finds violations: each test breaks one guarantee of the product from outside."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from graphmesh_chaos.experiment import MeshOptions, Result, run_experiment
from graphmesh_chaos.graphs.drafts import PAUSE_SECONDS, PAUSING_AMOUNTS
from graphmesh_chaos.history import APPROVAL_THRESHOLD
from graphmesh_chaos.mesh_files import DRAFTS_FILE
from graphmesh_chaos.schedule import Fault, FaultKind, Schedule, Submission
from graphmesh_local.databases import shared_servers
from graphmesh_local.spawning import Spawner

from tests.chaos.sabotage.settings import FOLDER, sabotaged

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

RUNS = 3
KILL = Fault(2.5, "orchestrator", FaultKind.KILL, 0.1)


def submissions(at: float) -> list[Submission]:
    return [Submission(at, number, amount=10_00, copies=1) for number in range(RUNS)]


async def run_sabotaged(name: str, schedule: Schedule, state: Path, spawn: Spawner) -> Result:
    return await run_experiment(schedule, state, MeshOptions(spawn=sabotaged(spawn, name)))


def violated(result: Result) -> set[str]:
    return {violation.invariant for violation in result.violations}


def charges_by_invoice(result: Result) -> Counter[str]:
    return Counter(charge.invoice_id for charge in result.history.charges)


async def test_finds_charges_without_effect_rows(tmp_path: Path, spawn: Spawner) -> None:
    """Billing leaves the effect's row out of its transaction; there is no fault."""
    schedule = Schedule(faults=[], submissions=submissions(0))
    result = await run_sabotaged("billing_without_effect_rows", schedule, tmp_path, spawn)
    assert violated(result) == {"effects_are_recorded", "reported_effects_exist"}


async def test_finds_effects_without_fencing(tmp_path: Path, spawn: Spawner) -> None:
    """Billing accepts effects of any epoch, and so records none."""
    schedule = Schedule(faults=[], submissions=submissions(0))
    result = await run_sabotaged("billing_without_fencing", schedule, tmp_path, spawn)
    assert violated(result) == {"epochs_are_recorded"}


async def test_finds_charges_without_approval(tmp_path: Path, spawn: Spawner) -> None:
    """The orchestrator requests no approval before it charges."""
    large = [replace(submission, amount=APPROVAL_THRESHOLD) for submission in submissions(0)]
    result = await run_sabotaged("charges_without_approval", Schedule([], large), tmp_path, spawn)
    assert violated(result) == {"charges_are_approved"}


async def test_finds_effects_before_checkpoints(tmp_path: Path, spawn: Spawner) -> None:
    """Without the write-ahead rule, a run that has charged when the orchestrator dies charges again."""
    ticketing_is_frozen = Fault(0, "ticketing", FaultKind.FREEZE, 4)
    schedule = Schedule([ticketing_is_frozen, KILL], submissions(0.5))
    result = await run_sabotaged("effects_before_checkpoints", schedule, tmp_path, spawn)
    assert "charged_once" in violated(result)
    assert max(charges_by_invoice(result).values()) == 2


@pytest.mark.parametrize("is_fenced", [True, False])
async def test_finds_effects_of_overtaken_workers(tmp_path: Path, spawn: Spawner, is_fenced: bool) -> None:
    """A worker is cut off from its database during a pause before an effect; another one ends its runs meanwhile.

    Without a fence by its own clock it makes the effect then. The runs are more than one worker takes, so that each
    has some.
    """
    cut_off = Fault(4, "orchestrator-1/postgres", FaultKind.PARTITION, PAUSE_SECONDS + 4)
    schedule = Schedule([cut_off], [Submission(0, number, PAUSING_AMOUNTS, copies=1) for number in range(10)])
    spawn = spawn if is_fenced else sabotaged(spawn, "worker_without_fence")
    async with shared_servers() as shared:
        options = MeshOptions(2, shared, graph=DRAFTS_FILE, spawn=spawn)
        result = await run_experiment(schedule, tmp_path, options)
    assert max(run.epoch for run in result.history.runs) > 1
    assert violated(result) == (set() if is_fenced else {"effects_precede_ends"})


async def test_finds_random_effect_keys(tmp_path: Path, spawn: Spawner) -> None:
    """With a new key in each execution, a run charges again after each death."""
    schedule = Schedule([KILL], submissions(0))
    result = await run_experiment(schedule, tmp_path, MeshOptions(graph=FOLDER / "random_effect_keys.py", spawn=spawn))
    assert "charged_once" in violated(result)
    assert len(result.recovery) == RUNS
    assert max(charges_by_invoice(result).values()) == 2
