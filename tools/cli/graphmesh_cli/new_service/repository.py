"""Writes a new service as a repository of its own, which needs packages and no clone of graphmesh."""

import subprocess
import tempfile
from pathlib import Path

from graphmesh_protos import ProtoError, replace

from graphmesh_cli.new_service.names import InvalidName, Names
from graphmesh_cli.new_service.rendering import format_python, render

MISSING = "the service cannot be generated and formatted: install graphmesh-cli[protos]"


def write_repository(folder: Path, names: Names) -> list[Path]:
    """Write the repository with its generated contracts into a new or empty folder, or nothing.

    Returns the paths of the written files, relative to `folder`, the contract first.

    Raises:
        InvalidName: the folder is not empty, or the code of the service has an identifier like the resource.
        ProtoError: the generator or ruff is not installed.
    """
    files = render(names)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidName(f"{folder} exists and is not an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-service-") as work:
        made = Path(work, "made")
        for path, text in files.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text)
        replace(made / "contracts/protos", made / "contracts/gen")
        try:
            format_python(made / names.module, made / "pyproject.toml")
            format_python(made / "tests", made / "pyproject.toml")
        except subprocess.CalledProcessError as error:
            raise ProtoError(MISSING) from error
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    return list(files)
