"""Test workers of pytest-xdist: no process or folder of theirs outlives them."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
SLEEPING_TEST = """
import asyncio, signal
from pathlib import Path

async def test_sleep(postgres):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(__file__).with_name("folder").write_text(str(postgres.folder))
    await asyncio.sleep(600)
"""


def test_workers_and_servers_die_with_the_controller(tmp_path: Path) -> None:
    """SIGKILL of the controller ends the worker and the server that its test uses, and deletes the server's folder."""
    (tmp_path / "test_sleep.py").write_text(SLEEPING_TEST)
    config, scratch = ROOT / "pyproject.toml", tmp_path / "scratch"
    paths = [f"--rootdir={ROOT}", f"--config-file={config}", f"--basetemp={scratch}"]
    plugins = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--numprocesses", "1"]
    argv = [sys.executable, "-m", "pytest", *plugins, *paths, str(tmp_path)]
    controller = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not (file := tmp_path / "folder").exists() or not (folder := file.read_text()):
            assert controller.poll() is None
            time.sleep(0.05)
        processes = psutil.Process(controller.pid).children(recursive=True)
        assert len(processes) > 1
    finally:
        controller.kill()
        controller.wait()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    assert not Path(folder).exists()
