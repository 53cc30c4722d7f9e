"""Nothing that a run leaves has a secret: a mesh with a marker in each, a run that fails, and a crash."""

import base64
import json
import os
import signal
import zlib
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from graphmesh.sql.v1 import RunQueryRequest, SqlService
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_local.backends import Postgres
from graphmesh_local.child_process import State
from graphmesh_local.spawning import Spawner
from psycopg import sql

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
CARD, PASSWORD, KEY = "4111 1111 1111 1111", "Tr0ub4dor-and-3", "sk-live-0123456789abcdefghij"
OWN_MESSAGE = {"runs", "checkpoints"}
"""Tables that have the input of a run as its caller sent it. So have the writes of LangGraph's `__start__`."""
START = "__start__"
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


async def tables_with(url: str, *markers: str) -> set[str]:
    """The tables of a database that have a marker in any column, also in its bytes, or compressed."""
    found = set[str]()
    connection = await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""))
    async with connection:
        tables = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for (table,) in await tables.fetchall():
            rows = await connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            content = b"\n".join(
                _stored(value) for row in await rows.fetchall() if not _is_of_start(row) for value in row
            )
            if any(marker.encode() in content for marker in markers):
                found.add(table)
    return found


def _is_of_start(row: tuple[object, ...]) -> bool:
    return any(isinstance(value, str) and value.endswith(START) for value in row)


def _stored(value: object) -> bytes:
    """The bytes of a column, and what they are when they are decompressed."""
    if not isinstance(value, bytes):
        return str(value).encode()
    with suppress(zlib.error):
        return value + zlib.decompress(value)
    return value


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
        urls = [await databases.enter_async_context(postgres.database()) for _ in ON_POSTGRESQL]
        for name, url in zip(ON_POSTGRESQL, urls, strict=True):
            monkeypatch.setenv(name, url)
        async with start_mesh(tmp_path, spawn, mesh_of(tmp_path, *names)) as mesh:
            with suppress(GraphmeshError):
                await mesh.send_request(f"Where is my parcel? My card is {CARD}, my password is {PASSWORD}, {KEY}")
            rpc, request, deadline = SqlService.RunQuery, RunQueryRequest(query="SELECT 1"), Deadline.after(60)
            headers = stated_headers(rpc, mesh.tenant, "")
            assert [part async for part in mesh.channel.stream(rpc, request, deadline=deadline, headers=headers)]
            for url in urls:
                assert not await tables_with(url, *markers)
                assert not await tables_with(url, CARD, PASSWORD, KEY) - OWN_MESSAGE
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
    assert not [log for log in logs if any(own.encode() in log.read_bytes() for own in (CARD, PASSWORD, KEY))]
    assert any(b"redis" in log.read_bytes().lower() for log in logs)
