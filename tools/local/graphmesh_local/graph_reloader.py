"""Reloads the graphs of a running mesh when files of their project change.

The orchestrators are replaced one after another: a new one loads the graphs, and takes over when the present one has
drained, so that its runs resume. A project that cannot be loaded changes nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from graphmesh_local.child_process import Child, ProcessError, State
from graphmesh_local.cluster_health import Notify
from graphmesh_local.project_files import ProjectFiles, Stamps
from graphmesh_local.server_programs import ORCHESTRATOR
from graphmesh_local.supervisor import Supervisor

POLL_SECONDS = 0.5
"""Seconds between two polls of the project."""
IDLE_FACTOR = 20
"""The least pause after a poll, in durations of that poll: a large project costs at most 5 % of a core."""
QUIET_SECONDS = 0.3
"""Seconds without a further change after which an edit is complete: editors and git write several files."""
MAX_NAMES = 3
"""Changed files that a message names."""
NOT_INSTALLED = "dependencies: not installed"
"""The part of an error of the orchestrator about packages that the changed project requires."""
INSTALL = "; graphmesh up installs them when it is started again"
STANDBY_FILE = "standby"


async def reload_graphs(
    supervisor: Supervisor, folder: Path, files: ProjectFiles, seen: Stamps, notify: Notify
) -> None:
    """Poll the files of a langgraph.json, and reload the graphs after each change, until cancelled.

    Args:
        folder: the state folder of the mesh.
        seen: the files as they were before the orchestrators loaded the graphs.
    """
    pause, is_loaded = POLL_SECONDS, True
    while True:
        await asyncio.sleep(pause)
        began = time.monotonic()
        found = await asyncio.to_thread(files.stamps)
        pause = max(POLL_SECONDS, IDLE_FACTOR * (time.monotonic() - began))
        if found == seen and is_loaded:
            continue
        found = await _when_quiet(files, found)
        names, seen = _names(files.changed(seen, found)), found
        is_loaded = await _replace(supervisor, folder / STANDBY_FILE, names, notify)


async def _replace(supervisor: Supervisor, standby: Path, names: str, notify: Notify) -> bool:
    """Replace the orchestrators, and report whether each runs: with the graphs of before, where they cannot be loaded.

    Args:
        names: the files that have changed; empty where an orchestrator is started again.
    """
    try:
        for child in _orchestrators(supervisor):
            await supervisor.replace(child, standby)
    except ProcessError as error:
        runs = all(child.state is State.READY for child in _orchestrators(supervisor))
        if names and runs:
            notify(f"{names} changed, but the graphs are not reloaded: {error}{_remedy(error)}")
        elif names:
            notify(f"{names} changed, and the orchestrator does not start: {error}")
        return runs
    notify(f"{names} changed: the graphs are reloaded" if names else "the orchestrator is started again")
    return True


def _remedy(error: ProcessError) -> str:
    """Return what follows an error of packages that are missing: a running mesh keeps its environment."""
    return INSTALL if NOT_INSTALLED in str(error) else ""


def _orchestrators(supervisor: Supervisor) -> Sequence[Child]:
    return [child for child in supervisor.children if child.program.name.partition("-")[0] == ORCHESTRATOR]


async def _when_quiet(files: ProjectFiles, found: Stamps) -> Stamps:
    """Wait until no file changes any more, and return the files."""
    while True:
        await asyncio.sleep(QUIET_SECONDS)
        if (again := await asyncio.to_thread(files.stamps)) == found:
            return again
        found = again


def _names(changed: Sequence[str]) -> str:
    more = f" and {len(changed) - MAX_NAMES} more" if len(changed) > MAX_NAMES else ""
    return f"{', '.join(changed[:MAX_NAMES])}{more}"
