"""`graphmesh up` in a folder without a mesh of its own runs that of the sample."""

from pathlib import Path

import pytest
from graphmesh_mesh.sample import MESH_FILE, default_mesh_file
from graphmesh_mesh.topology import load


def test_folder_without_a_mesh_has_that_of_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert {"orchestrator", "billing"} <= load(default_mesh_file()).services.keys()


def test_mesh_of_the_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / MESH_FILE).parent.mkdir()
    (tmp_path / MESH_FILE).write_text("")
    assert default_mesh_file() == MESH_FILE
