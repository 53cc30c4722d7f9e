"""The errors that end runs, and those of a graph's code as errors of its nodes."""

from collections.abc import Mapping

import structlog
from google.rpc.error_details_pb2 import DebugInfo
from graphmesh_chassis.errors import BudgetExceeded, DeadlineExceeded, GraphmeshError, TokenLimit
from graphmesh_chassis.status import to_status
from graphmesh_nodes.errors import EffectLimit, StepLimit

from graphmesh_orchestrator.errors import NodeFailed, RecursionLimit, RunCancelled
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.worker.graph_exits import exception_name

log = structlog.get_logger("graphmesh.runs")


class RunDeadlineExceeded(DeadlineExceeded):
    """The deadline of the run {run} is exceeded"""


LIMITS = (BudgetExceeded, EffectLimit, RecursionLimit, RunDeadlineExceeded, StepLimit, TokenLimit)
"""The errors that end a run at a limit, with the output that it has by then."""
END_STATUS: Mapping[type[GraphmeshError], RunStatus] = {
    RunDeadlineExceeded: RunStatus.TIMEOUT,
    RunCancelled: RunStatus.CANCELLED,
}
"""The errors that end a run with a status of their own."""


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
