"""Errors of calls and nodes: the names that `refusals` use, and that code of a node catches.

An error of a service that has a class here arrives as that class; an error with a reason of the service's own arrives
as the class of its gRPC status, such as `NotFound`. `is_refusal` separates decisions (for `refusals`) from failures
(for `fallback`), and `may_have_happened` states whether the call may have had its effect all the same.
"""

from graphmesh_chassis.errors import (
    Aborted,
    AlreadyExists,
    ApprovalMismatch,
    ApprovalRequired,
    BudgetExceeded,
    CallerError,
    Cancelled,
    CircuitOpen,
    ConcurrencyLimit,
    ConnectionLost,
    CustomerMismatch,
    DatabaseUnavailable,
    DeadlineExceeded,
    Defect,
    DependencyError,
    EgressRefused,
    FailedPrecondition,
    Fenced,
    FieldViolation,
    GraphmeshError,
    IdempotencyKeyInUse,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    Internal,
    InvalidInput,
    InvalidMetadata,
    InvalidRequest,
    InvalidResponse,
    MalformedMessage,
    MessageTooLarge,
    NotBegun,
    NotFound,
    OutcomeOpen,
    OutcomeUnknown,
    PermissionDenied,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    ResourceExhausted,
    RuleViolated,
    ScopeMissing,
    ShuttingDown,
    TokenLimit,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    UnknownMethod,
    Unreachable,
    VersionMismatch,
)

__all__ = [
    "Aborted",
    "AlreadyExists",
    "ApprovalDenied",
    "ApprovalExpired",
    "ApprovalMismatch",
    "ApprovalRequired",
    "ApproverIsRequester",
    "ArtifactTooLarge",
    "BudgetExceeded",
    "CallerError",
    "Cancelled",
    "CircuitOpen",
    "ConcurrencyLimit",
    "ConnectionLost",
    "CustomerMismatch",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "Defect",
    "DependencyError",
    "EffectLimit",
    "EgressRefused",
    "FailedPrecondition",
    "Fenced",
    "FieldViolation",
    "GraphmeshError",
    "IdempotencyKeyInUse",
    "IdempotencyKeyRequired",
    "IdempotencyKeyReused",
    "Internal",
    "InvalidInput",
    "InvalidMetadata",
    "InvalidRequest",
    "InvalidResponse",
    "MalformedMessage",
    "MessageTooLarge",
    "NotBegun",
    "NotFound",
    "OutcomeOpen",
    "OutcomeUnknown",
    "PermissionDenied",
    "PolicyInvalid",
    "ProviderMisconfigured",
    "ProviderUnavailable",
    "RateLimited",
    "ResourceExhausted",
    "RuleViolated",
    "ScopeMissing",
    "ShuttingDown",
    "StepLimit",
    "TokenLimit",
    "ToolNotAllowed",
    "ToolNotDeclared",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UnknownMethod",
    "Unreachable",
    "ValueNotStorable",
    "VersionMismatch",
    "WriteAheadRequired",
]


class StepLimit(ResourceExhausted, CallerError):
    """The run has begun {used} nodes and may begin {limit}; it was ended"""

    reason = "STEP_LIMIT"


class ApproverIsRequester(PermissionDenied):
    """{subject} has requested what is to be approved: another approver has to approve it"""

    reason = "APPROVER_IS_REQUESTER"


class EffectLimit(FailedPrecondition):
    """The run has begun {used} effects and may begin {limit}: nothing was sent"""

    reason = "EFFECT_LIMIT"


class ApprovalDenied(FailedPrecondition):
    """{by} denied the approval of {tool}: nothing was sent"""

    reason = "APPROVAL_DENIED"


class ApprovalExpired(ApprovalDenied):
    """The approval {approval} of {tool} expired without an answer, which is a denial"""

    reason = "APPROVAL_EXPIRED"


class ToolNotAllowed(PermissionDenied):
    """No graph may call {tool} for the roles of the run's caller: nothing was sent"""

    reason = "TOOL_NOT_ALLOWED"


class ToolNotDeclared(ToolNotAllowed):
    """The run's graph does not declare the tool {tool}: nothing was sent"""


class PolicyInvalid(FailedPrecondition):
    """The policy of the agent {graph} breaks a rule"""

    reason = "POLICY_INVALID"

    def _default_message(self) -> str:
        broken = "; ".join(f"{violation.field}: {violation.description}" for violation in self.violations)
        return f"{super()._default_message()}: {broken}" if broken else super()._default_message()


class ArtifactTooLarge(FailedPrecondition):
    """An artifact of {bytes} bytes exceeds the limit of {limit}; it was not stored"""

    reason = "ARTIFACT_TOO_LARGE"


class WriteAheadRequired(FailedPrecondition):
    """The effect {tool} needs durability="sync" and a checkpointer, this is {durability}: nothing was sent"""

    reason = "WRITE_AHEAD_REQUIRED"


class ValueNotStorable(FailedPrecondition):
    """A value of the run cannot be stored: {key} {rule}

    `node` is the node that wrote it, where it is known.
    """

    reason = "VALUE_NOT_STORABLE"

    channel = task_id = ""
    """The channel that the value was written to, and the task that wrote it; empty where they are not known."""

    def locate(self, *, channel: str = "", task_id: str = "", node: str = "") -> None:
        """Add where the value is from. What is known already is kept."""
        self.channel, self.task_id = self.channel or channel, self.task_id or task_id
        if node and "node" not in self.data:
            self.data = {**self.data, "node": node}
            self.args = (f"{self.message}; the node {node} wrote it",)
