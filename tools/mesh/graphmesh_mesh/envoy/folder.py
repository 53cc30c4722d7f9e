"""The folder that Envoy reads its configuration from."""

import tempfile
from collections.abc import Mapping
from pathlib import Path


def stale_files(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Return the names of the `files` that are missing in `folder` or have another content there."""
    return [name for name, content in files.items() if not _is_fresh(folder / name, content)]


def write(folder: Path, files: Mapping[str, bytes], mode: int = 0o644) -> list[str]:
    """Write the stale files and return their names. Each is moved into place, since Envoy watches for moves."""
    folder.mkdir(parents=True, exist_ok=True)
    names = stale_files(folder, files)
    for name in names:
        _write_atomically(folder / name, files[name], mode)
    return names


def _is_fresh(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _write_atomically(path: Path, content: bytes, mode: int) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as temporary:
        temporary.write(content)
    Path(temporary.name).chmod(mode)
    Path(temporary.name).replace(path)
