"""Nothing that a run leaves has a secret: a mesh with a marker in each, a run that fails, and a crash."""

import base64
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_local.child_process import State
from graphmesh_local.spawning import Spawner

from tests.acceptance.local_mesh import mesh_of, start_mesh, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKER = "MARKER0123456789abcdefMARKER0123"
SECRETS = {
    "GRAPHMESH_ORCHESTRATOR_WEBHOOK_SECRET": f"whsec_{MARKER}",
    "GRAPHMESH_ORCHESTRATOR_WEBHOOK_HOSTS": '["hooks.example.com"]',
    "GRAPHMESH_ORCHESTRATOR_REDIS_URL": f"redis://:{MARKER}@127.0.0.1:1/0",
    "GRAPHMESH_MODEL_API_KEYS": json.dumps({"openai": MARKER}),
}
FORMS = (MARKER.encode(), base64.b64encode(MARKER.encode()), base64.b64decode(MARKER))


def leaks(folder: Path) -> Iterator[str]:
    """Yield the files, and the processes of this one, that show a marker."""
    for file in folder.rglob("*"):
        if file.is_file() and any(form in file.read_bytes() for form in FORMS):
            yield str(file)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if MARKER in " ".join(process.cmdline()):
                yield f"arguments of {process.pid}"


async def test_nothing_that_a_run_leaves_has_a_secret(
    tmp_path: Path, spawn: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs, databases, Envoy's files, the state of the mesh, and arguments; Redis and most services are away."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    async with start_mesh(tmp_path, spawn, mesh_of(tmp_path, "orchestrator", "model", "billing")) as mesh:
        with suppress(GraphmeshError):
            await mesh.send_request("Where is my parcel?")
        billing = mesh.running.child("billing")
        os.kill(billing.pid, signal.SIGABRT)
        await wait_until(lambda: billing.state is State.DIED, 60)
        assert not list(leaks(tmp_path))
        logs = list(mesh.running.folder.logs.iterdir())
    assert not list(leaks(tmp_path))
    assert len(logs) >= 4
    assert any(b"redis" in log.read_bytes().lower() for log in logs)
