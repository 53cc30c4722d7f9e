"""A team makes a service in a repository of its own, from wheels only: no clone of graphmesh."""

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import grpc
import pytest
from graphmesh_local.child_process import reserve_port
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.acceptance.wheel_environment import ROOT, VERSION, WheelEnvironment

pytestmark = pytest.mark.timeout(600)


def test_wheels_need_their_siblings_in_their_own_version(wheel_environment: WheelEnvironment) -> None:
    for wheel in wheel_environment.wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            lines = archive.read(metadata).decode().splitlines()
        siblings = [line for line in lines if line.startswith("Requires-Dist: graphmesh-")]
        assert all(f"=={VERSION}" in line for line in siblings), (wheel.name, siblings)


def test_a_new_repository_tests_and_serves_itself(wheel_environment: WheelEnvironment, tmp_path: Path) -> None:
    """It has contracts of the team's name; what it generates again is what it has; its tests pass; it answers calls."""
    repository = tmp_path / "shop"
    command = ("new-service", "gift_cards", "--team", "acme", "--out", repository)
    wheel_environment.run("graphmesh", *command, cwd=tmp_path)
    written = {path: path.read_bytes() for path in (repository / "contracts/gen").rglob("*") if path.is_file()}
    assert repository / "contracts/gen/acme/gift_cards/v1/gift_cards_pb2.py" in written

    protos = ("--protos", "contracts/protos")
    wheel_environment.run("graphmesh", "protos", "generate", *protos, "--out", "contracts/gen", cwd=repository)
    assert {path: path.read_bytes() for path in (repository / "contracts/gen").rglob("*") if path.is_file()} == written
    wheel_environment.run("graphmesh", "protos", "lint", *protos, cwd=repository)
    wheel_environment.run("ruff", "check", cwd=repository)
    wheel_environment.run("ruff", "format", "--check", cwd=repository)

    wheel_environment.install(repository / "contracts", repository)
    program = "import acme.gift_cards.v1 as contracts, graphmesh_chassis as k; print(contracts.__file__, k.__file__)"
    locations = wheel_environment.run("python", "-c", program, cwd=tmp_path)
    assert str(ROOT) not in locations
    assert " passed" in wheel_environment.run("python", "-m", "pytest", "-q", cwd=repository)
    assert_serves(wheel_environment, repository)


def assert_serves(environment: WheelEnvironment, folder: Path) -> None:
    address = f"127.0.0.1:{reserve_port()}"
    database = f"sqlite+aiosqlite:///{folder}/cards.db"
    program = (environment.program("gift-cards-service"), "--listen", address, "--database-url", database)
    server = subprocess.Popen(program, cwd=folder, env=environment.variables, stderr=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            HealthStub(channel).Check(HealthCheckRequest(), timeout=60, wait_for_ready=True)
            call: Any = channel.unary_unary("/acme.gift_cards.v1.GiftCardsService/ListGiftCards")
            assert call(b"", timeout=60) == b""
    finally:
        server.terminate()
        assert server.wait(60) == 0
