"""Edits of a running project that cannot be loaded are reported with what remedies them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from graphmesh_local.child_process import ProcessError, State
from graphmesh_local.graph_reloader import _replace
from graphmesh_orchestrator.project import Project, ProjectError


class Orchestrator:
    """A process that keeps running."""

    class program:  # stands for a value
        name = "orchestrator"

    state = State.READY


class FailingSupervisor:
    """Replaces no orchestrator: the new one ends with the error of the project."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self.children = [Orchestrator()]

    async def replace(self, child: Any, standby: Path) -> None:
        try:
            Project.read(self._project).enter()
        except ProjectError as error:
            raise ProcessError(f"orchestrator ended: {error}") from error


@pytest.mark.parametrize(
    ("requirement", "end"),
    [
        ("no-such-package", "'no-such-package'; graphmesh up installs them when it is started again"),
        ("# nothing", "requirements.txt changed: the graphs are reloaded"),
    ],
)
async def test_missing_packages_are_installed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requirement: str, end: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    project = tmp_path / "langgraph.json"
    project.write_text('{"dependencies": ["."], "graphs": {"a": "./a.py:graph"}}')
    (tmp_path / "requirements.txt").write_text(requirement)
    notices = list[str]()
    supervisor: Any = FailingSupervisor(project)
    await _replace(supervisor, tmp_path, "requirements.txt", notices.append)
    [notice] = notices
    assert notice.startswith("requirements.txt changed")
    assert notice.endswith(end)
