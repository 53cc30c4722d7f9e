"""The Python client of the orchestrator.

async with Client("127.0.0.1:8080") as client:
    run = await client.create_run("support", {"customer_id": "cu_1", "message": "Where is my parcel?"})
    async for event in client.stream_run(run.run_id):
        ...

`RemoteGraph` is a graph of the mesh as a LangGraph graph; LangGraph is imported when it is first accessed.
"""

from typing import TYPE_CHECKING, Any

from graphmesh_client.client import Client, RunOptions

if TYPE_CHECKING:
    from graphmesh_client.remote_graph import RemoteGraph

__all__ = ["Client", "RemoteGraph", "RunOptions"]


def __getattr__(name: str) -> Any:
    if name != "RemoteGraph":
        raise AttributeError(name)
    from graphmesh_client.remote_graph import RemoteGraph

    return RemoteGraph
