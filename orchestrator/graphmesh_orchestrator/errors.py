"""The errors of the orchestrator. The docstring of a class is the message that callers get."""

from graphmesh_chassis.errors import (
    Aborted,
    AlreadyExists,
    CallerError,
    Cancelled,
    Defect,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    RateLimited,
)


class GraphNotFound(NotFound):
    """There is no graph {graph}; registered are: {registered}"""

    reason = "GRAPH_NOT_FOUND"


class GraphNotAllowed(PermissionDenied):
    """None of the caller's roles may run the graph {graph}"""

    reason = "GRAPH_NOT_ALLOWED"


class ThreadBusy(Aborted, CallerError):
    """The thread {thread} is busy with the run {run}"""

    reason = "THREAD_BUSY"


class CheckpointConflict(Aborted, CallerError):
    """Another checkpoint of the thread {thread} follows {parent} already; read the thread again"""

    reason = "CHECKPOINT_CONFLICT"


class RequestIdReused(AlreadyExists):
    """The request_id {request_id} was used before with another body, for the run {run}; nothing was begun"""

    reason = "REQUEST_ID_REUSED"


class RecursionLimit(FailedPrecondition):
    """The run took {limit} supersteps, which is its recursion limit, and was ended"""

    reason = "RECURSION_LIMIT"


class WrongGraph(FailedPrecondition):
    """The thread {thread} is bound to the graph {graph}"""

    reason = "WRONG_GRAPH"


class QueueFull(RateLimited):
    """{limit} runs of the tenant are pending, which is the limit; retry later"""

    reason = "QUEUE_FULL"


class ResourceLimit(FailedPrecondition):
    """The tenant has {limit} {resource}, which is the limit: delete some"""

    reason = "RESOURCE_LIMIT"


class RunNotInterrupted(FailedPrecondition):
    """The run {run} does not wait for an answer: it is {status}"""

    reason = "RUN_NOT_INTERRUPTED"


class InterruptAnswered(Aborted, CallerError):
    """The interrupt {interrupt} has another answer already, by {by}"""

    reason = "INTERRUPT_ANSWERED"


class ApprovalAnswered(Aborted, CallerError):
    """The approval {approval} has been answered already: it is {status}, by {by}"""

    reason = "APPROVAL_ANSWERED"


class WebhookNotAllowed(FailedPrecondition):
    """The host of the webhook_url may not be called: {host}; the setting webhook_hosts has the allowed ones"""

    reason = "WEBHOOK_NOT_ALLOWED"

    def _default_message(self) -> str:
        if not self.data.get("host"):
            return "The webhook_url has to be an http or https address, without user and password"
        return super()._default_message()


class StateTooLarge(FailedPrecondition):
    """The state has {bytes} bytes, more than {limit}, of which {channel} has {channel_bytes}: store it as an artifact

    Nothing of the checkpoint is stored. The node stores a large value with `run_context().artifacts.put`, and keeps
    the URI in the state.
    """

    reason = "STATE_TOO_LARGE"


class VersionUnavailable(FailedPrecondition):
    """The state has version {version} of the graph {graph}; served versions are: {served}. Nothing was changed"""

    reason = "VERSION_UNAVAILABLE"


class StateUnreadable(FailedPrecondition):
    """The state cannot be read: in {channel}, {cause}. Nothing was changed"""

    reason = "STATE_UNREADABLE"


class NodeFailed(Defect):
    """The node {node} raised {type}; the orchestrator's log has the cause"""

    reason = "NODE_FAILED"


class GraphFactoryFailed(Defect):
    """The factory of the graph {graph} failed: {cause}; the orchestrator's log has more

    It makes the graph of each run, with the run's config.
    """

    reason = "GRAPH_FACTORY_FAILED"


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
