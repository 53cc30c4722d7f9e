"""Reloads the graphs of a running mesh when files of their project change.

The orchestrators are replaced one after another: each drains, so that its runs resume in the next one. A project that
cannot be loaded changes nothing.
"""

import asyncio
import os
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from graphmesh_local.child_process import Child, ProcessError, Program
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
CHECK = ("-m", "graphmesh_orchestrator.check_graphs")
CHECK_SECONDS = 120.0
MAX_NAMES = 3
"""Changed files that a message names."""


async def reload_graphs(supervisor: Supervisor, project: Path, notify: Notify) -> None:
    """Poll the files of a langgraph.json, and reload the graphs after each change, until cancelled."""
    files = ProjectFiles(project)
    seen = await asyncio.to_thread(files.stamps)
    pause = POLL_SECONDS
    while True:
        await asyncio.sleep(pause)
        began = time.monotonic()
        found = await asyncio.to_thread(files.stamps)
        pause = max(POLL_SECONDS, IDLE_FACTOR * (time.monotonic() - began))
        if found == seen:
            continue
        orchestrators = [child for child in supervisor.children if _is_orchestrator(child.program)]
        names, seen, problem = await _checked(files, seen, orchestrators)
        if problem:
            notify(f"{names} changed, but the graphs are not reloaded: {problem}")
        else:
            await _replace(supervisor, orchestrators, names, notify)


async def _checked(files: ProjectFiles, seen: Stamps, orchestrators: Sequence[Child]) -> tuple[str, Stamps, str]:
    """Check the graphs, again where files change meanwhile.

    Returns the names of the changed files, all files as they were checked, and the problem, if there is one.
    """
    found = await asyncio.to_thread(files.stamps)
    while True:
        found = await _when_quiet(files, found)
        problem = await check_graphs(orchestrators[0].program) if orchestrators else ""
        if (again := await asyncio.to_thread(files.stamps)) == found:
            return _names(files.changed(seen, found)), found, problem
        found = again


async def _replace(supervisor: Supervisor, orchestrators: Sequence[Child], names: str, notify: Notify) -> None:
    try:
        for child in orchestrators:
            await supervisor.replace(child)
    except ProcessError as error:
        notify(f"{names} changed, and the orchestrator does not start: {error}")
    else:
        notify(f"{names} changed: the graphs are reloaded")


async def check_graphs(orchestrator: Program) -> str:
    """Load the graphs in a process of their own, with the settings of an orchestrator; return the problem, if any."""
    if list(orchestrator.argv[1:2]) != ["-m"]:
        return ""  # it is started by a command, of which no check is known
    process = await asyncio.create_subprocess_exec(
        *(orchestrator.argv[0], *CHECK),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
        env={**os.environ, **orchestrator.env},
        cwd=orchestrator.folder,
    )
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            _, errors = await process.communicate()
    except TimeoutError:
        return f"they are not loaded after {CHECK_SECONDS:g} s"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    lines = errors.decode(errors="replace").strip().splitlines() or [f"the check exited with {process.returncode}"]
    return lines[-1] if process.returncode else ""


async def _when_quiet(files: ProjectFiles, found: Stamps) -> Stamps:
    """Wait until no file changes any more, and return the files."""
    while True:
        await asyncio.sleep(QUIET_SECONDS)
        if (again := await asyncio.to_thread(files.stamps)) == found:
            return again
        found = again


def _is_orchestrator(program: Program) -> bool:
    return program.name == ORCHESTRATOR or program.name.startswith(f"{ORCHESTRATOR}-")


def _names(changed: Sequence[str]) -> str:
    more = f" and {len(changed) - MAX_NAMES} more" if len(changed) > MAX_NAMES else ""
    return f"{', '.join(changed[:MAX_NAMES])}{more}"
