"""Writes all of several files, or none."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path


def write_all(root: Path, files: Mapping[Path, str], prepare: Callable[[Path], None]) -> None:
    """Write `files`, keyed by their paths in `root`.

    `prepare` gets a temporary folder with the files, and may change them before they are moved to `root`. On any error
    new files and folders are removed, and replaced files are restored.
    """
    with tempfile.TemporaryDirectory(prefix=".new-service-", dir=root) as temporary:
        staged, replaced = Path(temporary) / "new", Path(temporary) / "old"
        for path, text in files.items():
            _parent(staged / path).write_text(text)
        prepare(staged)
        try:
            for path in files:
                if (root / path).exists():
                    shutil.copy2(root / path, _parent(replaced / path))
                (staged / path).replace(_parent(root / path))
        except BaseException:
            _undo(root, files, replaced)
            raise


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _undo(root: Path, files: Mapping[Path, str], replaced: Path) -> None:
    for path in files:
        if (replaced / path).exists():
            (replaced / path).replace(root / path)
        else:
            (root / path).unlink(missing_ok=True)
            _prune((root / path).parent, root)


def _prune(folder: Path, root: Path) -> None:
    """Remove a folder and its parents below `root`, as far as they are empty."""
    while folder != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
