"""The state folder of a mesh, which some commands empty."""

from pathlib import Path

import pytest
from graphmesh_local.state_folder import MeshBusy, NoStateFolder, StateFolder


def test_folder_of_a_mesh_is_deleted(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    with folder.locked():
        (folder.databases / "billing.db").touch()
        with pytest.raises(MeshBusy):
            StateFolder(tmp_path / "state").delete()
    folder.delete()
    assert not folder.path.exists()
    folder.delete()


@pytest.mark.parametrize("name", ["home", "home/notes.txt"])
def test_what_no_mesh_has_made_is_not_deleted(tmp_path: Path, name: str) -> None:
    """As `graphmesh chaos --state ~`."""
    notes = tmp_path / "home/notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(NoStateFolder, match="is no folder of a mesh, and is not emptied: name another --state"):
        StateFolder(tmp_path / name).delete()
    assert notes.read_text() == "mine"


def test_empty_folder_is_accepted(tmp_path: Path) -> None:
    StateFolder(tmp_path).delete()
