"""Sabotaged servers: by their environment, or as forks of a process that has imported them."""

import os
from dataclasses import replace
from pathlib import Path

from graphmesh_local.fork_server import python_module
from graphmesh_local.spawning import Process, ProcessSpec, Spawner

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
PROGRAM = "tests.chaos.sabotage"
"""Runs a sabotaged server."""


def sabotage_settings(name: str) -> dict[str, str]:
    """The environment variables with which Python imports the sitecustomize module of a sabotage."""
    folders = [str(FOLDER / name), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders))}


def sabotaged(spawn: Spawner, name: str) -> Spawner:
    """A spawner that starts servers as `spawn` does, with the sabotage; it has to start `PROGRAM` too."""

    async def spawn_sabotaged(spec: ProcessSpec, /) -> Process:
        if not (package := python_module(spec)):
            return await spawn(spec)
        python, option, _, *arguments = spec.argv
        return await spawn(replace(spec, argv=(python, option, PROGRAM, name, package, *arguments)))

    return spawn_sabotaged
