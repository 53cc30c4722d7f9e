"""All files are written, or none."""

from pathlib import Path

import pytest
from graphmesh_cli.new_service.atomic_write import write_all

FILES = {Path("new/deep/a.txt"): "a", Path("list.txt"): "after", Path("blocked/b.txt"): "b"}


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_writes_all_files(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("before")

    def prepare(staged: Path) -> None:
        (staged / "new/deep/a.txt").write_text("A")

    write_all(tmp_path, FILES, prepare)
    assert tree(tmp_path) == {"new/deep/a.txt": "A", "list.txt": "after", "blocked/b.txt": "b"}


def test_restores_everything_after_a_failure(tmp_path: Path) -> None:
    """The third file fails, because a file has the name of its folder."""
    (tmp_path / "list.txt").write_text("before")
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(OSError, match="blocked"):
        write_all(tmp_path, FILES, lambda staged: None)
    assert tree(tmp_path) == {"list.txt": "before", "blocked": "a file"}
    assert not (tmp_path / "new").exists()


def test_writes_nothing_when_the_preparation_fails(tmp_path: Path) -> None:
    def fail(staged: Path) -> None:
        raise RuntimeError("no formatter")

    with pytest.raises(RuntimeError):
        write_all(tmp_path, FILES, fail)
    assert list(tmp_path.iterdir()) == []
