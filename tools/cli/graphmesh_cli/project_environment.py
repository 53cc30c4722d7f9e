"""The Python environment of a project, with what its `dependencies` require.

It sees the packages of this environment and has, before them, those that the project requires besides or in another
version. What it is made from is hashed: nothing is installed again while that is the same, and nothing at all where
this environment meets the requirements.
"""

import hashlib
import json
import shutil
import string
import sys
from collections.abc import Collection
from pathlib import Path

from graphmesh_local.cluster_health import Notify
from graphmesh_mesh.errors import MeshError
from graphmesh_orchestrator.project import Project, ProjectError
from graphmesh_orchestrator.project_requirements import INPUTS
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from graphmesh_cli.package_installers import (
    InstallationFailed,
    find_installer,
    installed_versions,
    own_constraints,
    own_site_folders,
)

NAME = f"{string.ascii_letters}{string.digits}._-"
"""The characters of the name of a package."""
COMPLETE = "complete"
"""The file in an environment that is written at the end."""


async def project_interpreter(file: Path, folder: Path, notify: Notify, without: Collection[str] = ()) -> Path | None:
    """Return the interpreter with the packages that a project requires; None where that is the present one.

    Args:
        file: its langgraph.json.
        folder: for the environments, of which the one in use stays.
        without: keys of the file that are not honoured, without which the graphs are to run.

    Raises:
        MeshError: the project cannot be read, or its packages cannot be installed.
    """
    try:
        project = Project.read(file, without)
        requirements = project.requirements
    except ProjectError as error:
        raise MeshError(str(error)) from error
    for notice in project.notices:
        notify(notice)
    missing = requirements.unmet()
    if requirements.are_listed and not missing:
        return None
    environment = folder / _digest(project)
    if not (environment / COMPLETE).is_file():
        installed = ", ".join([*missing, *map(str, requirements.files), *requirements.builds])
        notify(f"installing into {environment}: {installed}")
        await _install(project, environment, installed)
    return environment / "bin" / "python"


async def _install(project: Project, environment: Path, named: str) -> None:
    where = f"{project.file}: dependencies"
    installer = find_installer()
    if installer is None:
        raise MeshError(
            f"{where}: not installed: {named}. Install uv (https://docs.astral.sh/uv) or pip, which then do it at the "
            f"next start, or install them where {sys.executable} finds them"
        )
    shutil.rmtree(environment.parent, ignore_errors=True)
    environment.mkdir(parents=True, mode=0o700)
    try:
        await installer.install(project.requirements, environment, project.file.parent)
    except InstallationFailed as error:
        raise MeshError(f"{where}: cannot be installed{_conflict(str(error))}:\n{error}") from error
    (environment / COMPLETE).touch()


def _conflict(output: str) -> str:
    """Return what graphmesh requires of the packages that the output of an installer names with versions."""
    words = [word.strip("`',.;()") for word in output.split()]
    named = {canonicalize_name(word[: -len(rest)]) for word in words if (rest := word.lstrip(NAME))}
    own = [one for one in own_constraints() if canonicalize_name(Requirement(one).name) in named]
    return f" beside graphmesh, which requires {', '.join(own)}" if own else ""


def _digest(project: Project) -> str:
    """Return a digest of all that the environment is made from."""
    folders = [(project.file.parent / one.partition("[")[0]) for one in project.dependencies if one.startswith(".")]
    texts = {
        str(file): file.read_text(errors="replace")
        for folder in folders
        for file in sorted({*(folder / name for name in INPUTS), *folder.glob("*requirements*.txt")})
        if file.is_file()
    }
    own = (sys.executable, sys.version, own_site_folders(), installed_versions())
    return hashlib.sha256(json.dumps([project.dependencies, texts, own]).encode()).hexdigest()[:16]
