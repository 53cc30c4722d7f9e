"""Tests that run in several processes: none of what they have started outlives them."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
HELD = """
import asyncio, signal
from pathlib import Path

async def test_held(postgres):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(__file__).with_name("folder").write_text(str(postgres.folder))
    await asyncio.sleep(60)
"""


def test_nothing_survives_killed_tests(tmp_path: Path) -> None:
    """SIGKILL of who hands the tests out takes the worker along, and the server that its test has."""
    (tmp_path / "test_held.py").write_text(HELD)
    config, scratch = ROOT / "pyproject.toml", tmp_path / "scratch"
    places = [f"--rootdir={ROOT}", f"--config-file={config}", f"--basetemp={scratch}"]
    plugins = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--numprocesses", "1"]
    argv = [sys.executable, "-m", "pytest", *plugins, *places, str(tmp_path)]
    controller = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not (held := tmp_path / "folder").exists() or not (folder := held.read_text()):
            assert controller.poll() is None
            time.sleep(0.05)
        processes = psutil.Process(controller.pid).children(recursive=True)
        assert len(processes) > 1
    finally:
        controller.kill()
        controller.wait()
    _, alive = psutil.wait_procs(processes, timeout=10)
    shutil.rmtree(folder)
    assert not alive
