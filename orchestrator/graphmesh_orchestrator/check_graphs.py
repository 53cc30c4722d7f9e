"""`python -m graphmesh_orchestrator.check_graphs`: load the graphs as an orchestrator with the same settings does.

Exits with 2 where one cannot be loaded; the last line of standard error is the reason.
"""

import asyncio
import sys
from pathlib import Path

from graphmesh_chassis.logs import configure_logs
from graphmesh_chassis.settings import BadSetting
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import ValidationError

from graphmesh_orchestrator.graph_loading import loaded_graphs
from graphmesh_orchestrator.settings import Settings


async def _load(path: Path) -> None:
    async with loaded_graphs(path, InMemorySaver()):
        """Loaded: that is all to check."""


def main() -> None:
    configure_logs("orchestrator", "error")
    try:
        asyncio.run(_load(Settings().graphs))
    except (BadSetting, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
