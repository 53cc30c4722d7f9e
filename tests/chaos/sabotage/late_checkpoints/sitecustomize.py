"""An orchestrator whose checkpoints come after the effects. Python imports this before the server's main."""

import sys
from typing import Any

if "graphmesh_orchestrator" in sys.orig_argv:
    from graphmesh_nodes import remote
    from langgraph.pregel import Pregel

    astream: Any = Pregel.astream

    def at_exit(self: Any, *args: Any, **options: Any) -> Any:
        return astream(self, *args, **{**options, "durability": "exit"})

    async def let_through(*_: object) -> None:
        return None

    for place, name, sabotaged in (
        (Pregel, "astream", at_exit),
        (remote, "_require_write_ahead", let_through),
    ):
        setattr(place, name, sabotaged)
