"""The runs that fail while `graphmesh up` is in the foreground, with the traceback of the graph's own code."""

import asyncio
from collections.abc import Callable
from typing import Any

from graphmesh_local.log_files import LogFile, UnknownProcess, log_files, merged
from graphmesh_local.running_mesh import RunningMesh
from graphmesh_local.server_programs import ORCHESTRATOR

POLL_SECONDS = 0.5
MAX_SHOWN = 5
"""Failed runs that are shown at once; of more the number."""
EVENT = "run ended"

Show = Callable[[str], None]


async def show_failed_runs(running: RunningMesh, show: Show) -> None:
    """Follow the logs of the orchestrators, and show each run that ends with an error, until cancelled."""
    try:
        paths = log_files(running.folder.logs, [ORCHESTRATOR])
    except UnknownProcess:  # the mesh has no orchestrator
        return
    files = [LogFile(process, path) for process, path in paths.items()]
    for file in files:
        file.seek_last_lines(0)
    while True:
        await asyncio.sleep(POLL_SECONDS)
        failures = [fields for line in merged(files, containing=EVENT) if (fields := line.fields)]
        for fields in failures[:MAX_SHOWN]:
            show(_text(fields))
        if (rest := len(failures) - MAX_SHOWN) > 0:
            show(f"{rest} more runs failed; see graphmesh logs {ORCHESTRATOR}")


def _text(fields: dict[str, Any]) -> str:
    head = f"{fields.get('run')} of {fields.get('graph')} ended: {fields.get('reason')}"
    cause = fields.get("cause")
    return "\n".join([head, *(f"    {line}" for line in cause)]) if isinstance(cause, list) else head
