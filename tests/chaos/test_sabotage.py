"""The checker finds violations: each test breaks one guarantee of the product from outside."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
import pytest_asyncio
from graphmesh_chaos.experiment import MeshOptions, Result
from graphmesh_chaos.history import APPROVAL_THRESHOLD
from graphmesh_chaos.schedule import Fault, FaultKind, Schedule, Submission
from graphmesh_local.spawning import Spawner

from tests.chaos.concurrent_experiments import run_concurrently
from tests.chaos.sabotage.settings import FOLDER, sabotaged

pytestmark = pytest.mark.timeout(600)

RUNS = 3
KILL = Fault(2.5, "orchestrator", FaultKind.KILL, 0.1)


def submissions(at: float) -> list[Submission]:
    return [Submission(at, number, amount=10_00, copies=1) for number in range(RUNS)]


def experiments(spawn: Spawner) -> dict[str, tuple[Schedule, MeshOptions]]:
    """Experiments on one orchestrator by the names of their sabotages."""
    large = [replace(submission, amount=APPROVAL_THRESHOLD) for submission in submissions(0)]
    ticketing_is_frozen = Fault(0, "ticketing", FaultKind.FREEZE, 4)
    schedules = {
        "billing_without_effect_rows": Schedule([], submissions(0)),
        "billing_without_fencing": Schedule([], submissions(0)),
        "charges_without_approval": Schedule([], large),
        "effects_before_checkpoints": Schedule([ticketing_is_frozen, KILL], submissions(0.5)),
    }
    sabotages = {name: (schedule, MeshOptions(spawn=sabotaged(spawn, name))) for name, schedule in schedules.items()}
    random_keys = MeshOptions(graph=FOLDER / "random_effect_keys.py", spawn=spawn)
    return {**sabotages, "random_effect_keys": (Schedule([KILL], submissions(0)), random_keys)}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def results(tmp_path_factory: pytest.TempPathFactory, spawn: Spawner) -> Mapping[str, Result]:
    return await run_concurrently(experiments(spawn), tmp_path_factory.mktemp("sabotage"))


def violated(result: Result) -> set[str]:
    return {violation.invariant for violation in result.violations}


def charges_by_invoice(result: Result) -> Counter[str]:
    return Counter(charge.invoice_id for charge in result.history.charges)


def test_finds_charges_without_effect_rows(results: Mapping[str, Result]) -> None:
    """Billing leaves the effect's row out of its transaction; there is no fault."""
    found = violated(results["billing_without_effect_rows"])
    assert found == {"effects_are_recorded", "reported_effects_exist"}


def test_finds_effects_without_fencing(results: Mapping[str, Result]) -> None:
    """Billing accepts effects of any epoch, and so records none."""
    assert violated(results["billing_without_fencing"]) == {"epochs_are_recorded"}


def test_finds_charges_without_approval(results: Mapping[str, Result]) -> None:
    """The orchestrator requests no approval before it charges."""
    assert violated(results["charges_without_approval"]) == {"charges_are_approved"}


def test_finds_effects_before_checkpoints(results: Mapping[str, Result]) -> None:
    """Without the write-ahead rule, a run that has charged when the orchestrator dies charges again."""
    result = results["effects_before_checkpoints"]
    assert "charged_once" in violated(result)
    assert max(charges_by_invoice(result).values()) == 2


def test_finds_random_effect_keys(results: Mapping[str, Result]) -> None:
    """With a new key in each execution, a run charges again after each death."""
    result = results["random_effect_keys"]
    assert "charged_once" in violated(result)
    assert len(result.recovery) == RUNS
    assert max(charges_by_invoice(result).values()) == 2
