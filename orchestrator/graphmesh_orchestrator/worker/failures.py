"""Errors of a graph's code as errors of its nodes, and their statuses."""

import structlog
from google.rpc.error_details_pb2 import DebugInfo
from graphmesh_chassis.errors import GraphmeshError
from graphmesh_chassis.status import to_status

from graphmesh_orchestrator.errors import NodeFailed
from graphmesh_orchestrator.worker.graph_exits import exception_name

log = structlog.get_logger("graphmesh.runs")


def node_failure(node: str, error: BaseException) -> NodeFailed:
    failure = NodeFailed(node=node, type=exception_name(error))
    failure.__cause__ = error
    return failure


def node_error(node: str, error: object) -> GraphmeshError:
    """Return the error that a node has failed with. LangGraph has the text of one that it has read from a store."""
    if isinstance(error, GraphmeshError):
        return error
    return node_failure(node, error) if isinstance(error, BaseException) else NodeFailed(node=node, type="Exception")


def serialized(error: GraphmeshError, cause: DebugInfo | None = None) -> bytes:
    """Return the status of an error. One whose class is broken, as graphs may make it, is a failure of its node."""
    try:
        status = to_status(error)
        if cause:
            status.details.add().Pack(cause)
        encoded: bytes = status.SerializeToString()
    except Exception as broken:
        log.error("error not serialized", type=exception_name(error), exc_info=broken)
        encoded = to_status(NodeFailed(node="", type=exception_name(error))).SerializeToString()
    return encoded
