"""A billing that makes its changes without the row of their key. Python imports this before the server's main."""

import sys

if "graphmesh_billing" in sys.orig_argv:
    from graphmesh_chassis import store

    async def forget(*_: object) -> None:
        return None

    for name in ("claim", "record"):
        setattr(store, name, forget)
