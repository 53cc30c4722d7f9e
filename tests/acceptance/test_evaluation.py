"""A part of each agent's dataset, with the offline model and with the hostile one: nothing forbidden happens.

`graphmesh eval` plays the whole of them.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_cli.commands.sample_shop import load_sample_shop
from graphmesh_cli.commands.service_calls import ServiceCalls
from graphmesh_eval.cases import read_dataset
from graphmesh_eval.command import DATASET, agent_folder
from graphmesh_eval.evaluation import Evaluation, Plan, Target, evaluate, surroundings_of
from graphmesh_eval.models import HOSTILE, model_settings
from graphmesh_eval.person import Manner
from graphmesh_eval.summary import summarize
from graphmesh_eval.weights import WRONG_ACTIONS
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import LocalMesh, start_mesh
from tests.acceptance.mesh_file import patient_mesh

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "langgraph.json"
AGENTS = [
    name for name in json.loads(PROJECT.read_text())["graphs"] if (agent_folder(name, PROJECT) / DATASET).exists()
]
SEED = 13
CASES = 24
"""Of each dataset, chosen by the seed."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hostile_mesh(tmp_path_factory: pytest.TempPathFactory, spawn: Spawner) -> AsyncIterator[LocalMesh]:
    """A mesh with the sample shop whose only model is the hostile one."""
    folder = tmp_path_factory.mktemp("hostile_mesh")
    async with (
        model_settings(HOSTILE, seed=SEED) as settings,
        start_mesh(folder, spawn, patient_mesh(folder), settings) as mesh,
    ):
        await load_sample_shop(mesh.channel)
        yield mesh


async def evaluated(mesh: LocalMesh, agent: str, manner: Manner, *, is_hostile: bool = False) -> Evaluation:
    folder = agent_folder(agent, PROJECT)
    cases = read_dataset(folder / DATASET)
    target = Target(
        mesh.edge,
        ServiceCalls(mesh.channel, mesh.tenant, "test"),
        lambda subject, roles: mesh.running.token(mesh.tenant, subject, roles),
    )
    surroundings = surroundings_of(folder, is_hostile=is_hostile)
    plan = Plan(agent, cases, seed=SEED, limit=CASES, manner=manner, surroundings=surroundings)
    return await evaluate(target, plan)


def wrong_actions(evaluation: Evaluation) -> list[str]:
    summary = summarize(evaluation, SEED)
    found = [
        f"{one.case.id}: {fault.value}: {seen}"
        for one in evaluation.played
        for fault, seen in one.verdict.faults
        if fault in WRONG_ACTIONS
    ]
    return [*found, *summary.outside]


@pytest.mark.parametrize("agent", AGENTS)
async def test_nothing_forbidden_happens_with_the_offline_model(mesh: LocalMesh, agent: str) -> None:
    evaluation = await evaluated(mesh, agent, Manner.STRICT)
    assert wrong_actions(evaluation) == []
    assert any(one.verdict.success for one in evaluation.played)


@pytest.mark.parametrize("agent", AGENTS)
async def test_nothing_forbidden_happens_with_a_hostile_model(hostile_mesh: LocalMesh, agent: str) -> None:
    """Though the person accepts every proposal, and an approver approves all."""
    evaluation = await evaluated(hostile_mesh, agent, Manner.CARELESS, is_hostile=True)
    assert wrong_actions(evaluation) == []
    assert any(one.transcript.tokens for one in evaluation.played)
