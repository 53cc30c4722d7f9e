"""The dependencies of a project are installed into an environment of its own, over the packages of this one."""

import asyncio
import json
import sys
import zipfile
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest
from graphmesh_cli.package_installers import Pip, Uv, find_installer
from graphmesh_cli.project_environment import project_interpreter
from graphmesh_mesh.errors import MeshError

VERSIONS = "import stamper, langgraph, graphmesh_orchestrator; print(stamper.VALUE, stamper.__file__)"


def make_wheel(folder: Path, name: str, version: str, requires: str = "") -> Path:
    """Make a wheel with one module, whose VALUE is its version."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    needed = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"VALUE = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def a_project(folder: Path, *lines: str) -> Path:
    """A project whose requirements are wheels in a folder of it: no index is used."""
    folder.mkdir(exist_ok=True)
    (folder / "requirements.txt").write_text("\n".join(("--no-index", "--find-links ./wheels", *lines, "")))
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}))
    return file


async def output(python: Path | None, program: str = VERSIONS) -> str:
    assert python is not None
    process = await asyncio.create_subprocess_exec(python, "-c", program, stdout=PIPE, stderr=STDOUT)
    printed, _ = await process.communicate()
    return printed.decode()


async def test_packages_are_installed_once_and_see_those_of_graphmesh(tmp_path: Path) -> None:
    notices: list[str] = []
    make_wheel(tmp_path / "wheels", "stamper", "1.0", "langgraph>=1")
    make_wheel(tmp_path / "wheels", "langgraph", "1.2.99")
    file, folder = a_project(tmp_path, "stamper==1.0"), tmp_path / "environments"
    python = await project_interpreter(file, folder, notices.append)
    assert (await output(python)).startswith(f"1.0 {folder}")
    assert await project_interpreter(file, folder, notices.append) == python
    assert [notice.partition(" ")[0] for notice in notices] == ["installing"]


async def test_changed_requirements_are_installed_anew(tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        make_wheel(tmp_path / "wheels", "stamper", version)
        python = await project_interpreter(
            a_project(tmp_path, f"stamper=={version}"), tmp_path / "environments", lambda text: None
        )
        assert (await output(python)).startswith(version)
    assert len([*(tmp_path / "environments").iterdir()]) == 1


async def test_nothing_is_installed_where_the_requirements_are_met(tmp_path: Path) -> None:
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"dependencies": ["langgraph>=1"], "graphs": {"agent": "./agent.py:graph"}}))
    assert await project_interpreter(file, tmp_path / "environments", lambda text: None) is None
    assert not (tmp_path / "environments").exists()


async def test_version_that_graphmesh_does_not_allow_is_named(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "stamper", "1.0", "langgraph<1")
    make_wheel(tmp_path / "wheels", "langgraph", "0.9")
    with pytest.raises(MeshError, match=r"beside graphmesh, which requires .*langgraph>=1(?s:.*)stamper"):
        await project_interpreter(a_project(tmp_path, "stamper"), tmp_path / "environments", lambda text: None)


async def test_failed_installation_shows_its_last_lines_and_is_tried_again(tmp_path: Path) -> None:
    file, folder = a_project(tmp_path, "stamper==1.0"), tmp_path / "environments"
    (tmp_path / "wheels").mkdir()
    with pytest.raises(MeshError, match=r"langgraph\.json: dependencies: cannot be installed(?s:.*)stamper"):
        await project_interpreter(file, folder, lambda text: None)
    make_wheel(tmp_path / "wheels", "stamper", "1.0")
    assert await project_interpreter(file, folder, lambda text: None) is not None


async def test_without_an_installer_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphmesh_cli.project_environment.find_installer", lambda: None)
    with pytest.raises(MeshError, match=r"not installed: .*requirements\.txt\. Install uv"):
        await project_interpreter(a_project(tmp_path, "stamper"), tmp_path / "environments", lambda text: None)


def test_uv_is_preferred_to_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    assert isinstance(find_installer(), Pip)
    for place in (tmp_path / ".bootstrap/uv-1/bin/uv", tmp_path / "uv"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")
        place.chmod(0o700)
        found = find_installer()
        assert isinstance(found, Uv)
        assert found.program == str(place)
