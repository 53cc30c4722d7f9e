"""Each agent with each part of the mesh cut off in the middle of a run: it is of use, and says what is missing.

docs/degradation.md has the table of what was seen.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from graphmesh.orchestrator.v1 import Run
from graphmesh_chaos.tcp_proxy import TcpProxy, tcp_proxy
from graphmesh_cli.commands.sample_shop import load_sample_shop
from graphmesh_client import Client
from graphmesh_client.run_status import RunPhase, phase_of
from graphmesh_local.backends import Postgres
from graphmesh_local.spawning import Spawner
from sqlalchemy import make_url

from tests.acceptance.local_mesh import LocalMesh, eventually, output, start_mesh
from tests.acceptance.mesh_file import patient_mesh

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = Path(__file__).parents[2] / "docs" / "degradation.md"
SERVICES = ("billing", "crm", "model", "retrieval", "sql", "ticketing")
PARTS = (*SERVICES, "Redis", "database")
CALL_SECONDS = 10
"""The timeout of calls, which those of a part that is away use up with their retries."""
SECONDS = 2.0
"""How long the database is cut off; graphmesh chaos does it for longer."""


@dataclass(frozen=True)
class Scenario:
    """A run that is cut off at a breakpoint, or at its first question."""

    title: str
    graph: str
    input: dict[str, str]
    needs: dict[str, str]
    """The parts that it needs, each with a word of what it says without it."""
    before: str = ""
    """The node before which the run parks; empty: it parks at its proposal."""


NIB = {"customer_id": "cu_1017", "message": "How do I clean a nib?"}
REFUND = {
    "customer_id": "cu_1007",
    "message": "The ink arrived damaged. Please refund the 18.90 EUR of invoice INV-2038.",
}
SCENARIOS = (
    Scenario(
        "support: a question",
        "support",
        NIB,
        {"billing": "billing", "crm": "records", "model": "model", "retrieval": "articles"},
        "understand",
    ),
    Scenario("support: a confirmed refund", "support", REFUND, {"billing": "billing"}),
    Scenario(
        "operations: a confirmed change",
        "operations",
        {"message": "Set the company of cu_1007 to Ink."},
        {"crm": "crm"},
    ),
    Scenario(
        "analyst: a question",
        "analyst",
        {"message": "How many customers are there?"},
        {"sql": "database", "model": "model"},
        "query",
    ),
    Scenario("tool_agent: a question", "tool_agent", NIB, {"model": "model", "retrieval": "articles"}, "agent"),
)


@dataclass(frozen=True)
class Cuttable:
    """A mesh whose parts can be cut off."""

    mesh: LocalMesh
    proxies: dict[str, TcpProxy]

    @asynccontextmanager
    async def without(self, part: str) -> AsyncIterator[None]:
        """Cut a part off while the body runs; the database for `SECONDS` alone, since nothing ends without it."""
        if part in SERVICES:
            await self.mesh.kill(part)
            await eventually(partial(self._is_away, part))
            yield
            await self.mesh.restore()
            return
        self.proxies[part].refuse()
        healing = asyncio.create_task(self._heal_later(part, SECONDS if part == "database" else 0))
        yield
        await healing

    async def _is_away(self, part: str) -> bool:
        return not await self.mesh.is_answering(part)

    async def _heal_later(self, part: str, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
            self.proxies[part].heal()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cuttable(
    tmp_path_factory: pytest.TempPathFactory, spawn: Spawner, postgres: Postgres, redis_url: str
) -> AsyncIterator[Cuttable]:
    """The whole mesh, its orchestrator on PostgreSQL and Redis behind proxies."""
    folder = tmp_path_factory.mktemp("degradation")
    async with postgres.database() as url:
        database, redis = make_url(url), make_url(redis_url)
        async with (
            tcp_proxy(database.host or "", database.port or 5432) as to_database,
            tcp_proxy(redis.host or "", redis.port or 6379) as to_redis,
        ):
            settings = {
                "GRAPHMESH_ORCHESTRATOR_DATABASE_URL": through(database, to_database),
                "GRAPHMESH_ORCHESTRATOR_REDIS_URL": through(redis, to_redis),
            }
            async with start_mesh(folder, spawn, patient_mesh(folder, CALL_SECONDS), settings) as mesh:
                yield Cuttable(mesh, {"database": to_database, "Redis": to_redis})


def through(url: Any, proxy: TcpProxy) -> str:
    return str(url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False))


async def parked(client: Client, scenario: Scenario) -> Run:
    """Begin the run of a scenario, and return it when it is parked."""
    before = [scenario.before] if scenario.before else []
    begun = await client.create_run(scenario.graph, scenario.input, interrupt_before=before)
    run = await client.wait_run(begun.run_id, timeout=60)
    assert phase_of(run.status) is RunPhase.PARKED, run
    return run


async def answered(client: Client, run: Run) -> dict[str, Any]:
    """Answer yes to all that a run waits for, until it has ended, and return its output."""
    while phase_of(run.status) is RunPhase.PARKED:
        await client.resume_run(run.run_id, {one.interrupt_id: "yes" for one in run.interrupts})
        run = await client.wait_run(run.run_id, timeout=120)
    return output(run)


async def outputs_without(cuttable: Cuttable, part: str) -> list[dict[str, Any]]:
    """Park all runs, cut a part off, and return the outputs of the runs when they have continued to their ends."""
    mesh = cuttable.mesh.for_tenant(f"without-{part.lower()}")
    await load_sample_shop(mesh.channel, mesh.tenant)
    async with mesh.client() as client:
        runs = await asyncio.gather(*(parked(client, scenario) for scenario in SCENARIOS))
        async with cuttable.without(part):
            return list(await asyncio.gather(*(answered(client, run) for run in runs)))


async def test_each_agent_without_each_part(cuttable: Cuttable) -> None:
    found = {part: await outputs_without(cuttable, part) for part in PARTS}
    rows = [f"| run | {' | '.join(f'without {part}' for part in PARTS)} |", "|---" * (len(PARTS) + 1) + "|"]
    for number, scenario in enumerate(SCENARIOS):
        seen = {part: found[part][number] for part in PARTS}
        for part, word in scenario.needs.items():
            assert word in f"{seen[part]['answer']} {seen[part]['notes']}".lower(), (scenario.title, part, seen[part])
        assert all(one["answer"] for one in seen.values())
        rows.append(f"| {scenario.title} | {' | '.join(one['outcome'] for one in seen.values())} |")
    table = "\n".join(rows)
    assert table in PAGE.read_text(encoding="utf-8"), f"docs/degradation.md must have\n{table}"
