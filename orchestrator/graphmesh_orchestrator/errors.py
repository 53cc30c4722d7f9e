"""The errors of the orchestrator. The docstring of a class is the message that callers get."""

from graphmesh_chassis.errors import CallerError, Cancelled, Defect, InvalidRequest, NotBegun
from grpc import StatusCode


class GraphNotFound(CallerError):
    """There is no graph {graph}; registered are: {registered}"""

    code = StatusCode.NOT_FOUND
    reason = "GRAPH_NOT_FOUND"


class InvalidInput(InvalidRequest):
    """The input does not fit the graph's input schema"""

    reason = "INVALID_INPUT"


class ThreadBusy(CallerError):
    """The thread {thread} is busy with the run {run}"""

    code = StatusCode.ABORTED
    reason = "THREAD_BUSY"


class CheckpointConflict(CallerError):
    """Another checkpoint of the thread {thread} follows {parent} already; read the thread again"""

    code = StatusCode.ABORTED
    reason = "CHECKPOINT_CONFLICT"


class RequestIdReused(CallerError):
    """The request_id {request_id} was used before with another body, for the run {run}; nothing was begun"""

    code = StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"


class RecursionLimit(CallerError):
    """The run took {limit} supersteps, which is its recursion limit, and was ended"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "RECURSION_LIMIT"


class WrongGraph(CallerError):
    """The thread {thread} is bound to the graph {graph}"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "WRONG_GRAPH"


class QueueFull(NotBegun):
    """{limit} runs of the tenant are pending, which is the limit; retry later"""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = "QUEUE_FULL"


class RunNotInterrupted(CallerError):
    """The run {run} does not wait for an answer: it is {status}"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "RUN_NOT_INTERRUPTED"


class InterruptAnswered(CallerError):
    """The interrupt {interrupt} has another answer already, by {by}"""

    code = StatusCode.ABORTED
    reason = "INTERRUPT_ANSWERED"


class ApprovalAnswered(CallerError):
    """The approval {approval} has been answered already: it is {status}, by {by}"""

    code = StatusCode.ABORTED
    reason = "APPROVAL_ANSWERED"


class WebhookNotAllowed(CallerError):
    """The host of the webhook_url may not be called: {host}; the setting webhook_hosts has the allowed ones"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "WEBHOOK_NOT_ALLOWED"

    def _default_message(self) -> str:
        if not self.data.get("host"):
            return "The webhook_url has to be an http or https address, without user and password"
        return super()._default_message()


class StateTooLarge(CallerError):
    """The state has {bytes} bytes, more than {limit}, of which {channel} has {channel_bytes}: store it as an artifact

    Nothing of the checkpoint is stored. The node stores a large value with `run_context().artifacts.put`, and keeps
    the URI in the state.
    """

    code = StatusCode.FAILED_PRECONDITION
    reason = "STATE_TOO_LARGE"


class VersionUnavailable(CallerError):
    """The state has version {version} of the graph {graph}; served versions are: {served}. Nothing was changed"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "VERSION_UNAVAILABLE"


class NodeFailed(Defect):
    """The node {node} raised {type}; the orchestrator's log has the cause"""

    reason = "NODE_FAILED"


class RunPoisoned(Defect):
    """The run was taken over {takeovers} times without progress: it may end the processes that execute it

    No worker executes it any more. Calls of tools that were in flight may have happened.
    """

    reason = "RUN_POISONED"


class MigrationFailed(Defect):
    """The graph {graph} could not migrate a state of version {version}: {type}. Nothing was changed

    The orchestrator's log has the cause.
    """

    reason = "MIGRATION_FAILED"


class RunCancelled(Cancelled):
    """The run was cancelled: {cause}"""
