"""`graphmesh prune` with a real orchestrator."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest
from graphmesh_cli.app import app
from typer.testing import CliRunner

from tests.integration.orchestrator.gates import GATES
from tests.integration.orchestrator.mesh import Mesh, serve_mesh


async def prune(mesh: Mesh, *options: str) -> str:
    """Run `graphmesh prune` as a process, which must succeed, and return its output."""
    command = (sys.executable, "-m", "graphmesh_cli", "prune", "--address", mesh.address, *options)
    environment = {**os.environ, "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT, env=environment)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode().strip()


async def test_prunes_history_and_with_delete_threads(tmp_path: Path) -> None:
    """A dry run counts what the next call deletes, and changes nothing."""
    GATES["open"].set()
    async with serve_mesh(tmp_path) as mesh:
        for _ in range(2):
            await mesh.run("gated", name="open")
        history = "6 checkpoints and 0 runs of 2 threads"
        assert await prune(mesh, "--unused-for", "1h") == "deleted: 0 checkpoints and 0 runs of 0 threads"
        assert await prune(mesh, "--unused-for", "0s", "--dry-run") == f"would be deleted: {history}"
        assert await prune(mesh, "--unused-for", "0s") == f"deleted: {history}"
        assert len(await mesh.client.threads.find()) == 2
        assert await prune(mesh, "--unused-for", "0s", "--delete") == "deleted: 2 checkpoints and 2 runs of 2 threads"
        assert await mesh.client.threads.find() == []


@pytest.mark.parametrize("time", ["30", "d", "-1d", "1w", "1d2h", "9999999999d"])
def test_invalid_time_is_refused(time: str) -> None:
    result = CliRunner().invoke(app, ["prune", "--unused-for", time])
    assert result.exit_code == 2
    assert "--unused-for" in result.output
