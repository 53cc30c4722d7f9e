"""A changed number in mesh.yaml takes effect in a running Envoy, and cuts nothing off (D1)."""

import asyncio
from pathlib import Path

import grpc
import pytest
from graphmesh_mesh.envoy import clusters

from tests.integration.envoy.rig import Rig, eventually, shelf_mesh, standing


async def test_timeout(rig: Rig) -> None:
    """A new timeout holds on connections that are open already."""
    rig.change(methods={"GetBook": {"timeout": "0.3s"}})

    async def shorter() -> bool:
        await rig.call()
        return (rig.replica.seen[-1].remaining or 99) <= 0.3

    await eventually(shorter)


async def test_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A higher cap lets more in, while the calls inside stay inside."""
    monkeypatch.setattr(clusters, "HEADROOM", 0)
    async with standing(shelf_mesh(), tmp_path) as rig:
        rig.replica.answer = rig.replica.held
        calls = [asyncio.create_task(rig.call(timeout=None)) for _ in range(3)]
        await rig.inside(3)
        assert (await rig.call()).flags == "UO"
        rig.change(policy={"maxConcurrency": 9}, methods={"GetBook": {"timeout": "20s"}})

        async def admitted() -> bool:
            calls.append(asyncio.create_task(rig.call()))
            await asyncio.wait(calls[-1:], timeout=0.05)
            return len(rig.replica.seen) > 3

        await eventually(admitted, within=4)
        rig.replica.released.set()
        outcomes = await asyncio.gather(*calls)
    assert [outcome.code for outcome in outcomes[:3]] == [grpc.StatusCode.OK] * 3


async def test_nothing_changed_is_nothing_written(rig: Rig) -> None:
    """Rendering the same mesh again touches no file, so Envoy has nothing to read."""
    before = {path: path.stat().st_mtime_ns for path in rig.folder.iterdir()}
    rig.change()
    assert before == {path: path.stat().st_mtime_ns for path in rig.folder.iterdir()}
