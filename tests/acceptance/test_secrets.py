"""Nothing that a run leaves has a secret: a mesh with a marker in each, a run that fails, and a crash."""

import base64
import json
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil
import pytest
from graphmesh.sql.v1 import RunQueryRequest, SqlService
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_local.backends import Postgres
from graphmesh_local.child_process import State
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import start_mesh, stated_headers, wait_until
from tests.acceptance.mesh_file import mesh_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKER = "MARKER0123456789abcdefMARKER0123"
SECRETS = {
    "GRAPHMESH_ORCHESTRATOR_WEBHOOK_SECRET": f"whsec_{MARKER}",
    "GRAPHMESH_ORCHESTRATOR_WEBHOOK_HOSTS": '["hooks.example.com"]',
    "GRAPHMESH_ORCHESTRATOR_REDIS_URL": f"redis://:{MARKER}@127.0.0.1:1/0",
    "GRAPHMESH_MODEL_API_KEYS": json.dumps({"openai": MARKER}),
}
ON_POSTGRESQL = ("GRAPHMESH_BILLING_DATABASE_URL", "GRAPHMESH_ORCHESTRATOR_DATABASE_URL", "GRAPHMESH_SQL_TARGET_URL")


def leaks(folder: Path, *markers: str) -> Iterator[str]:
    """Yield the files, and the processes of this one, that show a marker."""
    forms = {form for marker in markers for form in (marker.encode(), base64.b64encode(marker.encode()))}
    for file in folder.rglob("*"):
        if file.is_file() and any(form in file.read_bytes() for form in (*forms, base64.b64decode(MARKER))):
            yield str(file)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(marker in " ".join(process.cmdline()) for marker in markers):
                yield f"arguments of {process.pid}"


async def test_nothing_that_a_run_leaves_has_a_secret(
    tmp_path: Path, spawn: Spawner, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs, databases, Envoy's files, the state of the mesh, and arguments of servers and of the workers of queries.

    Redis and most services are away, and so are the databases at the end.
    """
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    markers = MARKER, postgres.password
    names = ("orchestrator", "model", "billing", "sql")
    async with AsyncExitStack() as databases:
        for name in ON_POSTGRESQL:
            monkeypatch.setenv(name, await databases.enter_async_context(postgres.database()))
        async with start_mesh(tmp_path, spawn, mesh_of(tmp_path, *names)) as mesh:
            with suppress(GraphmeshError):
                await mesh.send_request("Where is my parcel?")
            rpc, request, deadline = SqlService.RunQuery, RunQueryRequest(query="SELECT 1"), Deadline.after(60)
            headers = stated_headers(rpc, mesh.tenant, "")
            assert [part async for part in mesh.channel.stream(rpc, request, deadline=deadline, headers=headers)]
            billing = mesh.running.child("billing")
            os.kill(billing.pid, signal.SIGABRT)
            await wait_until(lambda: billing.state is State.DIED, 60)
            assert not list(leaks(tmp_path, *markers))
            await databases.aclose()
            log = mesh.running.folder.logs / "orchestrator.log"
            await wait_until(lambda: b"DATABASE_UNAVAILABLE" in log.read_bytes(), 60)
            logs = list(mesh.running.folder.logs.iterdir())
    assert not list(leaks(tmp_path, *markers))
    assert len(logs) >= 5
    assert any(b"redis" in log.read_bytes().lower() for log in logs)
