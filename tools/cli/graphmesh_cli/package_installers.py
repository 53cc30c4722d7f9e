"""Installs the packages of a project into an environment that sees those of this one: with uv, else with pip."""

import asyncio
import os
import shutil
import site
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from graphmesh_mesh.errors import MeshError
from graphmesh_orchestrator.project_requirements import Requirements, required_by
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OWN_PACKAGES = ("graphmesh-orchestrator", "graphmesh-client")
"""What the process of the orchestrator and the graphs in it import."""
OWN = "graphmesh-"
INSTALL_SECONDS = 1800.0
LAST_LINES = 12
"""Lines of the installer that an error has."""


class InstallationFailed(MeshError):
    """An installer failed; the message has its last lines."""


class Installer(Protocol):
    """A program that installs packages."""

    async def install(self, requirements: Requirements, environment: Path, folder: Path) -> None:
        """Make an environment, and install what this one does not have in a fitting version.

        Args:
            folder: that of the project, whose settings of the installer apply.

        Raises:
            MeshError: it failed.
        """


def find_installer() -> Installer | None:
    """Return uv, from PATH, this environment or the repository that it belongs to; else pip; None without both."""
    if uv := shutil.which("uv") or _uv_of_environment():
        return Uv(uv)
    return Pip() if find_spec("venv") and find_spec("ensurepip") else None


def _uv_of_environment() -> str:
    prefix = Path(sys.prefix)
    places = [prefix / "bin" / "uv", *sorted(prefix.parent.glob(".bootstrap/uv-*/bin/uv"), reverse=True)]
    return next((str(place) for place in places if os.access(place, os.X_OK)), "")


class Uv:
    """uv: it resolves the project, preferring the versions that are installed here, and installs what differs."""

    def __init__(self, program: str) -> None:
        self.program = program

    async def install(self, requirements: Requirements, environment: Path, folder: Path) -> None:
        python = environment / "bin" / "python"
        await self._run("venv", "--quiet", "--clear", "--python", sys.executable, str(environment), folder=folder)
        _see_own_packages(python)
        stated, constraints = _written(requirements, environment)
        resolved, without_own = environment / "resolved.txt", environment / "overrides.in"
        resolved.write_text("".join(f"{name}=={version}\n" for name, version in installed_versions().items()))
        without_own.write_text("".join(f"{name} ; python_version < '0'\n" for name in own_packages()))
        compile_ = ("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", str(python))
        rules = ("--constraint", str(constraints), "--override", str(without_own), "--output-file", str(resolved))
        await self._run(*compile_, *map(str, stated), *rules, folder=folder)
        further = environment / "further.txt"
        further.write_text("".join(f"{line}\n" for line in _not_installed(resolved)))
        files = [further, *requirements.files]  # these may state where packages are found
        options = [option for file in files for option in ("--requirement", str(file))]
        pins = environment / "pins.txt"
        pins.write_text("".join(f"{line}\n" for line in resolved.read_text().splitlines() if "==" in line))
        install = ("pip", "install", "--quiet", "--no-deps", "--python", str(python), "--constraint", str(pins))
        await self._run(*install, *options, folder=folder)

    async def _run(self, *arguments: str, folder: Path) -> None:
        await run_installer([self.program, *arguments], folder, {"UV_PYTHON_DOWNLOADS": "never"})


class Pip:
    """pip: it takes the packages of this environment, which the new one sees, as installed."""

    async def install(self, requirements: Requirements, environment: Path, folder: Path) -> None:
        await run_installer([sys.executable, "-m", "venv", "--clear", str(environment)], folder)
        python = environment / "bin" / "python"
        _see_own_packages(python)
        stated, constraints = _written(requirements, environment)
        files = ["--constraint", str(constraints)]
        files += [option for file in stated for option in ("--requirement", str(file))]
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
        await run_installer([str(python), *install, *files], folder)


def _written(requirements: Requirements, environment: Path) -> tuple[list[Path], Path]:
    """Write the requirements of the project, and the constraints of graphmesh."""
    project, constraints = environment / "project.in", environment / "constraints.txt"
    builds = [f"--editable {build}" for build in requirements.builds]
    project.write_text("".join(f"{line}\n" for line in (*requirements.packages, *builds)))
    constraints.write_text("".join(f"{constraint}\n" for constraint in own_constraints()))
    return [project, *requirements.files], constraints


def _see_own_packages(python: Path) -> None:
    """Let an environment import the packages of this one, behind its own."""
    version = "python{}.{}".format(*sys.version_info)
    lines = "".join(f"import site; site.addsitedir({folder!r})\n" for folder in own_site_folders())
    (python.parents[1] / "lib" / version / "site-packages" / "zz_graphmesh.pth").write_text(lines)


def own_site_folders() -> list[str]:
    """Return the folders of this environment's packages."""
    return [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages of this environment, without those of graphmesh."""
    return {name: version for name, version in _versions().items() if not name.startswith(OWN)}


def own_packages() -> list[str]:
    """Return the packages of graphmesh in this environment."""
    return [name for name in _versions() if name.startswith(OWN)]


@cache
def _versions() -> dict[str, str]:
    found = {canonicalize_name(one.name): one.version for one in metadata.distributions() if one.name}
    return dict(sorted(found.items()))


@cache
def own_constraints() -> list[str]:
    """Return the versions that the packages of graphmesh, and those behind them, allow of others."""
    found, seen = set[str](), set[str]()
    unread = [Requirement(name) for name in OWN_PACKAGES if name in own_packages()]
    while unread:
        requirement = unread.pop()
        if (key := f"{canonicalize_name(requirement.name)}{sorted(requirement.extras)}") in seen:
            continue
        seen.add(key)
        for needed in required_by(metadata.distribution(requirement.name), requirement.extras):
            unread.append(needed)
            if needed.specifier and not canonicalize_name(needed.name).startswith(OWN):
                found.add(f"{needed.name}{needed.specifier}")
    return sorted(found)


def _not_installed(resolved: Path) -> Iterator[str]:
    """Yield the lines of a resolution that this environment does not have in the same version."""
    installed = installed_versions()
    for line in resolved.read_text().splitlines():
        name, _, version = line.partition("==")
        if line.strip() and not (
            version and installed.get(canonicalize_name(name)) == version.partition(";")[0].strip()
        ):
            yield line


async def run_installer(argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a step of an installation.

    Raises:
        MeshError: it failed, or took too long.
    """
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=folder, env={**os.environ, **(env or {})}
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        raise MeshError(f"{argv[0]} has not ended after {INSTALL_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
        raise InstallationFailed("\n".join(lines[-LAST_LINES:]) or f"{argv[0]} exited with {process.returncode}")
