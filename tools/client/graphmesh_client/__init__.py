"""The Python client of the orchestrator.

async with Client("http://127.0.0.1:8080") as client:
    run = await client.create_run("support", {"customer_id": "cu_1", "message": "Where is my parcel?"})
    async for event in client.stream_run(run.run_id):
        ...

`SyncClient` has the same methods for programs without an event loop. Errors are `GraphmeshError`: a class for each
gRPC status, and `RunFailed` for a run that ended with an error. Each has `reason`, which is one of
`graphmesh.common.v1.ErrorReason`, `data`, `violations` and `retry_after`.

`RemoteGraph` is a graph of the mesh as a LangGraph graph; LangGraph is imported when it is first accessed, and
installed with `graphmesh-client[langgraph]`.
"""

from typing import TYPE_CHECKING, Any

from graphmesh_chassis.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    Defect,
    FailedPrecondition,
    FieldViolation,
    GraphmeshError,
    InvalidInput,
    NotFound,
    PermissionDenied,
    RateLimited,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

from graphmesh_client.client import Client, RunOptions, run_request
from graphmesh_client.outcome import RunFailed, output_of
from graphmesh_client.sync_client import SyncClient

if TYPE_CHECKING:
    from graphmesh_client.remote_graph import RemoteGraph

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "Defect",
    "FailedPrecondition",
    "FieldViolation",
    "GraphmeshError",
    "InvalidInput",
    "NotFound",
    "PermissionDenied",
    "RateLimited",
    "RemoteGraph",
    "ResourceExhausted",
    "RunFailed",
    "RunOptions",
    "SyncClient",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "output_of",
    "run_request",
]


def __getattr__(name: str) -> Any:
    if name != "RemoteGraph":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    try:
        from graphmesh_client.remote_graph import RemoteGraph
    except ModuleNotFoundError as error:
        raise ImportError(f"RemoteGraph needs {error.name}: install graphmesh-client[langgraph]") from error

    return RemoteGraph
