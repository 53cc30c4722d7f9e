"""Killing the recipe's server leaves none of its workers behind."""

import asyncio
import os
import sys
import urllib.request
from pathlib import Path

import psutil
from graphmesh_bench.runs import fastapi_recipe
from graphmesh_local.child_process import reserve_port


async def test_workers_die_with_the_server(tmp_path: Path, postgres_url: str) -> None:
    port, workers = reserve_port(), 2
    with (tmp_path / "log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", f"{fastapi_recipe.__name__}:app"),
            *("--port", str(port), "--workers", str(workers)),
            env={**os.environ, fastapi_recipe.DATABASE: postgres_url, fastapi_recipe.REDIS: "redis://127.0.0.1:1"},
            stdout=log,
            stderr=log,
        )
    children: list[psutil.Process] = []
    try:
        async with asyncio.timeout(60):
            while (
                not await asyncio.to_thread(is_ready, port)
                or (tmp_path / "log").read_text().count("Application startup complete") < workers
            ):
                await asyncio.sleep(0.05)
        children = psutil.Process(server.pid).children(recursive=True)
        assert len(children) >= workers
        server.kill()
        await server.wait()
        async with asyncio.timeout(60):
            while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
                await asyncio.sleep(0.02)
    finally:
        for process in children:
            if process.is_running():
                process.kill()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60):
            return True
    except OSError:
        return False
