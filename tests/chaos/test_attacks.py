"""Hostile clients of every kind: another tenant's calls have no error."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from graphmesh_chaos.attacks import ATTACKS
from graphmesh_chaos.hostile_clients import PROGRAMS, attacked_mesh
from graphmesh_chaos.watcher import TENANT, AttackedMesh, Attacker, attacker, observe
from graphmesh_local.fork_client import fork_spawner

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

ROUNDS = 7
RUNS, SCHEDULES, STORE = (f"/graphmesh.orchestrator.v1.{name}Service/" for name in ("Run", "Schedule", "Store"))
Reply = tuple[str | None, str]
DENIED = "jwt_authn_access_denied"
REPLIES: dict[str, set[Reply]] = {
    "idle-connections": {("/v1/runs", DENIED)},
    "large-headers": {(None, "http2.header_list_size_too_large"), (None, "http2.too_many_headers")},
    "endless-headers": {(None, "http2.too_many_headers")},
    "rapid-resets": {(f"{RUNS}GetRun", "http2.remote_reset")},
    "large-requests": {(f"{RUNS}CreateRun", "OK")},
    "forged-tokens": {(f"{RUNS}GetRun", DENIED)},
    "flood-of-runs": {(f"{RUNS}CreateRun", "OK")},
    "flood-of-grpc-web": {(f"{RUNS}GetRun", "NOT_FOUND")},
    "flood-of-json": {("/v1/runs/run_unknown", "404"), ("/v1/runs", "400")},
    "flood-of-items": {(f"{STORE}PutItem", "OK"), (f"{STORE}SearchItems", "OK")},
    "flood-of-schedules": {(f"{SCHEDULES}CreateSchedule", "OK"), (f"{SCHEDULES}TriggerSchedule", "OK")},
    "webhooks": {(f"{RUNS}CreateRun", "OK")},
    "many-tenants": {(f"{RUNS}GetRun", "NOT_FOUND")},
}
"""The replies that an attack gets, by path: the status of HTTP or gRPC, or Envoy's reason."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AttackedMesh]:
    async with fork_spawner(PROGRAMS) as spawn, attacked_mesh(tmp_path_factory.mktemp("mesh") / "state", spawn) as mesh:
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile(mesh: AttackedMesh) -> AsyncIterator[Attacker]:
    async with attacker(mesh) as hostile:
        yield hostile


async def test_only_the_user_reads_the_state_folder(mesh: AttackedMesh) -> None:
    assert stat.S_IMODE(mesh.running.folder.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ATTACKS)
async def test_another_tenant_has_no_error(mesh: AttackedMesh, hostile: Attacker, name: str) -> None:
    """Its rounds of calls all succeed. `graphmesh chaos --attacks` reports their times."""
    async with hostile.attacking(name):
        observation = await observe(mesh.running, ROUNDS)
    assert hostile.sent
    assert not observation.errors
    assert len(observation.seconds) == ROUNDS


@pytest.mark.parametrize("name", REPLIES)
async def test_an_attack_gets_its_replies(mesh: AttackedMesh, hostile: Attacker, name: str) -> None:
    """Each attack sends requests of its kind, by the log of Envoy; it lasts until all replies were sent."""
    log = mesh.running.folder.logs / "envoy.log"
    before, missing = log.stat().st_size, REPLIES[name]
    async with hostile.attacking(name):
        while missing := missing - replies(log, before):
            await asyncio.sleep(0.1)


def replies(log: Path, start: int) -> set[Reply]:
    """The replies of the edge to others than the watching tenant, from a place in Envoy's log on."""
    with log.open("rb") as content:
        content.seek(start)
        lines = [json.loads(line) for line in content if line.startswith(b"{") and line.endswith(b"}\n")]
    found = [one for one in lines if one["listener"] == "edge" and one.get("tenant") != TENANT]
    kinds = [(str(one["http_status"]), one.get("grpc_status", ""), one.get("detail", "")) for one in found]
    return {(one.get("path"), reply.partition("{")[0]) for one, of in zip(found, kinds, strict=True) for reply in of}
