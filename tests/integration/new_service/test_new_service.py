"""The service that `graphmesh new-service` creates passes every check of this repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from graphmesh_cli.app import app
from typer.testing import CliRunner

ROOT = Path(__file__).parents[3]
COPIED = ("deploy", "protos", "services", "tests", "orchestrator", "tools")
NEW = ("services/gift_cards", "tests/unit/gift_cards", "tests/contract/gift_cards", "tests/integration/gift_cards")
PRINT_SERVICES = """
from pathlib import Path
from graphmesh_mesh.topology import load
print(*load(Path("deploy/mesh.yaml")).services)
"""

REFUSED = {
    "billing": "the service 'billing' exists already",
    "chassis": "the service 'chassis' exists already",
    "client": "the service 'client' exists already",
    "common": "the contracts have graphmesh.common",
    "Orders": "lower-case letters",
    "orders --resource class": "it is reserved by Python",
    "orders --resource page": "choose another --resource",
    "orders --port 20100": "port 20100 is taken by 'billing'",
    "orders --team acme": "name its folder with --out",
    "orders --out deploy": "deploy exists and is not an empty folder",
    "orders --out made --port 20100": "--port is for deploy/mesh.yaml",
    "email --out made": "name a --team",
}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this repository, as the working directory."""
    root = tmp_path / "clone"
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "uv.lock", "buf.yaml", "LICENSE"):
        shutil.copy2(ROOT / name, root)
    monkeypatch.chdir(root)
    return root


def new_service(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["new-service", *arguments])
    return result.exit_code, " ".join(result.output.split())


def tree(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def run(*command: str) -> str:
    """Run a Python tool in the copy, and return its output.

    Imports find the contracts and the new service of the copy before the installed ones.
    """
    path = os.pathsep.join(("protos/gen", "services/gift_cards"))
    completed = subprocess.run(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


@pytest.mark.timeout(600)
def test_new_service_passes_every_check_and_its_own_tests(clone: Path) -> None:
    """A name of two words has more spellings, and longer lines to format."""
    code, output = new_service("gift_cards")
    assert code == 0
    assert "Next: edit protos/graphmesh/gift_cards/v1/gift_cards.proto, then run `make protos`" in output
    run("protos/generate.py")
    run("protos/generate.py", "--image", "image.binpb")
    for command in (("lint", "image.binpb", "--config", "buf.yaml"), ("format", "-d", "--exit-code", "protos")):
        subprocess.run([Path(sys.executable).with_name("buf"), *command], check=True)
    run("-m", "ruff", "check", *NEW)
    run("-m", "ruff", "format", "--check", *NEW)
    run("-m", "mypy", *NEW)
    assert "gift_cards" in run("-c", PRINT_SERVICES).split()
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", *NEW[1:])


def test_refuses_invalid_arguments_and_writes_nothing(clone: Path) -> None:
    before = tree(clone)
    for arguments, message in REFUSED.items():
        code, output = new_service(*arguments.split())
        assert (code, message in output) == (2, True), output
    assert tree(clone) == before


def test_reports_a_folder_outside_of_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = new_service("orders")
    assert (code, "is in no clone of graphmesh" in output) == (2, True), output
