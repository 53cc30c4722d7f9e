"""An environment outside of this repository in which only wheels of its packages are installed."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = "1.2.3"
"""The version of the built wheels."""
PACKAGES = ("chassis", "cli", "client", "local", "mesh", "nodes", "orchestrator", "protos")
"""Whatever a person installs who runs a mesh, without the sample services."""


@dataclass(frozen=True)
class WheelEnvironment:
    """A virtual environment."""

    folder: Path
    wheels: Path

    def program(self, name: str) -> Path:
        return self.folder / "bin" / name

    def run(self, *command: str | Path, cwd: Path) -> str:
        """Run a program of the environment in `cwd`, and return its output."""
        return checked([self.program(str(command[0])), *command[1:]], cwd, self.variables)

    def install(self, *projects: Path) -> None:
        """Build and install projects, whose dependencies are installed already."""
        options = ("--quiet", "--offline", "--no-deps", "--python", self.program("python"))
        checked([uv(), "pip", "install", *options, *projects], self.folder, self.variables)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that lead to nothing of this repository."""
        kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        return {**kept, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "UV_COMPILE_BYTECODE": "0"}


def make(folder: Path) -> WheelEnvironment:
    """Build the wheels, and install them with the locked versions of all that they need; no network is used."""
    made = WheelEnvironment(folder / "env", folder / "wheels")
    variables = {**made.variables, "UV_PROJECT_ENVIRONMENT": str(made.folder), "UV_OFFLINE": "1"}
    options = ("--no-install-workspace", "--no-dev", "--all-packages", "--frozen", "--quiet")
    # The extra tiny has a model of 90 MB, which `make env` does not install.
    extras = ("--all-extras", "--no-extra", "tiny")
    checked([uv(), "sync", *options, *extras, "--python", sys.executable], ROOT, variables)
    variables["SETUPTOOLS_SCM_PRETEND_VERSION"] = VERSION
    for name in PACKAGES:
        build = ("build", "--quiet", "--wheel", "--package", f"graphmesh-{name}", "--out-dir", made.wheels)
        checked([uv(), *build], ROOT, variables)
    made.install(*sorted(made.wheels.glob("*.whl")))
    return made


def uv() -> Path:
    """The uv that made the environment of these tests."""
    bootstrapped = sorted(ROOT.glob(".bootstrap/uv-*/bin/uv"))
    found = bootstrapped[-1] if bootstrapped else shutil.which("uv")
    assert found, "uv is neither in .bootstrap nor on PATH: make env"
    return Path(found)


def checked(command: list[str | Path], cwd: Path, variables: dict[str, str]) -> str:
    """Run a command, and return its output; one that fails is shown."""
    ended = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
