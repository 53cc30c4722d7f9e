"""The environment of sabotaged servers."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]


def sabotage_settings(name: str) -> dict[str, str]:
    """The environment variables with which Python imports the sitecustomize module of a sabotage."""
    folders = [str(FOLDER / name), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
