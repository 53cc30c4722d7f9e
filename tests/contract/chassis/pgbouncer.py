"""PgBouncer itself, where the operating system has it: Debian's package is `pgbouncer`."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from graphmesh_local.child_process import reserve_port
from sqlalchemy.engine import URL

CONFIGURATION = """
[databases]
{database} = host={host} port={server_port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""
UNPRIVILEGED = "nobody"
"""PgBouncer does not run as root."""


@asynccontextmanager
async def pgbouncer(server: URL, mode: str) -> AsyncIterator[str]:
    """Run PgBouncer in a pool mode before a database, and yield the URL that leads through it."""
    binary = shutil.which("pgbouncer")
    if binary is None:
        pytest.skip("pgbouncer is not installed")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file, port = Path(folder, "pgbouncer.ini"), reserve_port()
        values = {"database": server.database, "host": server.host, "server_port": server.port, "user": server.username}
        file.write_text(CONFIGURATION.format(**values, password=server.password, port=port, mode=mode))
        file.chmod(0o644)
        user = ["-u", UNPRIVILEGED] if os.geteuid() == 0 else []
        process = await asyncio.create_subprocess_exec(
            binary, "-q", *user, str(file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await _wait_until_open(port)
            yield server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        finally:
            process.kill()
            await process.wait()


async def _wait_until_open(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
