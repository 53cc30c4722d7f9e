"""The pytest plug-in of the test kit, in pytest processes of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

CHASSIS = "graphmesh_chassis.testing.plugin"
PYTEST_GRPC = "pytest_grpc.plugin"
ROOT = """
from contextlib import asynccontextmanager
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from graphmesh_chassis.serve import Servable

@asynccontextmanager
async def build():
    {before}
    yield Servable(services=[])
    print("closed")

@pytest.fixture(scope="module")
def grpc_servable():
    return build()

@pytest.fixture(scope="module")
def grpc_stub_cls():
    return HealthStub

def test_serves(grpc_stub):
    assert grpc_stub.Check(HealthCheckRequest(), timeout=60).status == 1
"""
WITHOUT_ROOT = """
import pytest
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server

@pytest.fixture(scope="module")
def grpc_add_to_server():
    return add_HealthServicer_to_server

@pytest.fixture(scope="module")
def grpc_servicer():
    return health.HealthServicer()

@pytest.fixture(scope="module")
def grpc_stub_cls():
    return HealthStub

def test_serves(grpc_stub, grpc_server):
    assert grpc_stub.Check(HealthCheckRequest(), timeout=60).status == 1
    assert type(grpc_server).__module__ == "grpc._server"
"""
IDLE = """
import sys, threading

def test_starts_nothing():
    assert not [name for name in sys.modules if name.startswith("graphmesh_chassis.") and "testing" not in name]
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
"""


def pytest_run(
    tmp_path: Path, suite: str, *arguments: str, only: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run `suite`. `only`: the plug-ins to load, in this order; without it pytest loads all that are installed."""
    (tmp_path / "test_suite.py").write_text(suite)
    plugins = [argument for plugin in ("no:cacheprovider", *only) for argument in ("-p", plugin)]
    command = [sys.executable, "-m", "pytest", "-q", "-s", *plugins, *arguments, str(tmp_path)]
    environment = {**os.environ, **({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} if only else {})}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("order", [(PYTEST_GRPC, CHASSIS), (CHASSIS, PYTEST_GRPC)], ids=["last", "first"])
def test_overrides_pytest_grpc_in_any_order_of_loading(tmp_path: Path, order: tuple[str, str]) -> None:
    """The file system of each machine decides the order in which pytest finds installed plug-ins."""
    ended = pytest_run(tmp_path, ROOT.format(before=""), "-W", "error", only=order)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "closed" in ended.stdout


def test_is_installed_as_a_plugin(tmp_path: Path) -> None:
    """It works together with all other installed plug-ins, with warnings as errors."""
    options = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    ended = pytest_run(tmp_path, ROOT.format(before=""), "-W", "error", *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_suite_without_a_servable_keeps_the_fixtures_of_pytest_grpc(tmp_path: Path) -> None:
    ended = pytest_run(tmp_path, WITHOUT_ROOT, only=(PYTEST_GRPC, CHASSIS))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_error_of_the_composition_root_fails_the_tests(tmp_path: Path) -> None:
    """It neither hangs nor gets lost in the thread of the server."""
    ended = pytest_run(tmp_path, ROOT.format(before='raise OSError("no database")'), only=(PYTEST_GRPC, CHASSIS))
    assert ended.returncode == 1
    assert "OSError: no database" in ended.stdout


def test_nothing_is_imported_or_started_for_other_tests(tmp_path: Path) -> None:
    ended = pytest_run(tmp_path, IDLE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
