"""The files of a project that `up --reload` watches."""

import json
from pathlib import Path

import pytest
from graphmesh_local import project_files
from graphmesh_local.project_files import ProjectFiles


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a shared folder beside it, a virtual environment, and files that are no sources."""
    root = tmp_path / "project"
    for name in (
        "agent.py",
        "prompts/system.md",
        "data.db",
        "out.json",
        ".venv/lib/a.py",
        ".graphmesh/logs/a.txt",
        "__pycache__/a.py",
        "node_modules/a.txt",
        "myenv/pyvenv.cfg",
        "myenv/lib/a.py",
        "state/envoy/cds.yaml",
        "../shared/tools.py",
        "../other/a.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    (root / "local.env").write_text("A=1")
    settings = {"graphs": {}, "dependencies": [".", "../shared", "langchain"], "env": "./local.env"}
    (root / "langgraph.json").write_text(json.dumps(settings))
    return root / "langgraph.json"


def watched(project: Path) -> set[str]:
    files = ProjectFiles(project, project.parent / "state")
    return set(files.changed({}, files.stamps()))


def test_sources_of_the_project_and_of_its_folders_are_watched(project: Path) -> None:
    """Not those of environments, caches and the state folder, nor data."""
    assert watched(project) == {"agent.py", "prompts/system.md", "local.env", "langgraph.json", "../shared/tools.py"}


@pytest.mark.parametrize("text", ["{", "[]", '{"dependencies": 1, "env": {"A": "1"}}'])
def test_a_broken_langgraph_json_is_watched_too(project: Path, text: str) -> None:
    project.write_text(text)
    assert {"langgraph.json", "agent.py"} <= watched(project)


def test_changes_are_named(project: Path) -> None:
    files = ProjectFiles(project, project.parent / "state")
    before = files.stamps()
    (project.parent / "agent.py").write_text("longer")
    (project.parent / "new.py").write_text("x")
    (project.parent / "prompts/system.md").unlink()
    assert files.changed(before, files.stamps()) == ["agent.py", "new.py", "prompts/system.md"]


def test_the_number_of_files_is_bounded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_files, "MAX_FILES", 2)
    assert len(ProjectFiles(project, project.parent / "state").stamps()) == 2
