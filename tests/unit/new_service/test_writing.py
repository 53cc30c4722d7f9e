"""Files are written whole or not at all."""

from pathlib import Path

import pytest
from graphmesh_cli.new_service.writing import write_all

FILES = {Path("new/deep/a.txt"): "a", Path("list.txt"): "after", Path("blocked/b.txt"): "b"}


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_all_files_are_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("before")

    def prepare(staged: Path) -> None:
        (staged / "new/deep/a.txt").write_text("A")

    write_all(tmp_path, FILES, prepare)
    assert tree(tmp_path) == {"new/deep/a.txt": "A", "list.txt": "after", "blocked/b.txt": "b"}


def test_after_a_failure_everything_is_as_before(tmp_path: Path) -> None:
    """Here the third file fails: where its folder has to be, there is a file."""
    (tmp_path / "list.txt").write_text("before")
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(OSError, match="blocked"):
        write_all(tmp_path, FILES, lambda staged: None)
    assert tree(tmp_path) == {"list.txt": "before", "blocked": "a file"}
    assert not (tmp_path / "new").exists()


def test_a_failed_preparation_writes_nothing(tmp_path: Path) -> None:
    def fail(staged: Path) -> None:
        raise RuntimeError("no formatter")

    with pytest.raises(RuntimeError):
        write_all(tmp_path, FILES, fail)
    assert list(tmp_path.iterdir()) == []
