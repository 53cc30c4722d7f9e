"""A file system of a few megabytes in memory, which can be filled up: writes to it fail with ENOSPC."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNMOUNT_AT_END_OF_INPUT = 'read -r _; umount --lazy "$1"'
"""A shell script."""
CHUNK = 65_536
POSTGRES_BYTES = 160 * 1024**2
"""Room for a PostgreSQL server and the databases of an experiment."""


class DiskUnavailable(Exception):
    """This process may not mount a file system."""


class SmallDisk:
    """A mounted file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Take all its free space while the body runs."""
        try:
            with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(CHUNK))
            with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1))
            yield
        finally:
            self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """Mount a file system of `size` bytes at `folder`, which is created; it is unmounted also if this process dies.

    Raises:
        DiskUnavailable: this process is not root, or is in a container without the right to mount.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "graphmesh-chaos", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode:
        raise DiskUnavailable("a full disk needs a file system of its own, which only root may mount")
    script = ["sh", "-c", UNMOUNT_AT_END_OF_INPUT, "sh", str(folder)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, start_new_session=True):
        yield SmallDisk(folder)


@contextmanager
def temporary_disk(size: int) -> Iterator[SmallDisk]:
    """Mount a file system in a new temporary folder, which all users may enter. Raises DiskUnavailable."""
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder, "disk"), size) as disk:
        Path(folder).chmod(0o755)
        yield disk
