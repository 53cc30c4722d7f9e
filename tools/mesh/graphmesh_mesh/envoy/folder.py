"""The folder that Envoy runs in."""

import tempfile
from collections.abc import Mapping
from pathlib import Path


def changed(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """The names of the files that `folder` has not, or has with another content."""
    return [name for name, content in files.items() if not _holds(folder / name, content)]


def write(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Move what has changed into `folder`, file by file and each at once: a running Envoy watches for moves."""
    folder.mkdir(parents=True, exist_ok=True)
    names = changed(folder, files)
    for name in names:
        _move(folder / name, files[name])
    return names


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _move(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as made:
        made.write(content)
    Path(made.name).chmod(0o644)
    Path(made.name).replace(path)
