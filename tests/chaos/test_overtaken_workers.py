"""A worker that lost its leases makes no effect, and the checker finds the effects of one that is sabotaged."""

from pathlib import Path

import pytest
from graphmesh_chaos.experiment import MeshOptions, run_experiment
from graphmesh_chaos.graphs.drafts import PAUSE_SECONDS, PAUSING_AMOUNTS
from graphmesh_chaos.mesh_files import DRAFTS_FILE
from graphmesh_chaos.schedule import Fault, FaultKind, Schedule, Submission
from graphmesh_local.databases import shared_servers
from graphmesh_local.spawning import Spawner

from tests.chaos.sabotage.settings import sabotaged

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


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
    violated = {violation.invariant for violation in result.violations}
    assert max(run.epoch for run in result.history.runs) > 1
    assert violated == (set() if is_fenced else {"effects_precede_ends"})
