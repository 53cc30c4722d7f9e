"""Errors of calls and nodes: the names that `refusals` use, and that code of a node catches.

An error of a service that has a class here arrives as that class; an error with a reason of the service's own arrives
as `UnknownReasonError`. `is_refusal` separates decisions (for `refusals`) from failures (for `fallback`), and
`may_have_happened` states whether the call may have had its effect all the same.
"""

from graphmesh_chassis.errors import (
    AlreadyExists,
    ApprovalRequired,
    CallerError,
    Cancelled,
    CircuitOpen,
    ConcurrencyLimit,
    ConnectionLost,
    DatabaseUnavailable,
    DeadlineExceeded,
    Defect,
    DependencyError,
    Fenced,
    FieldViolation,
    GraphmeshError,
    IdempotencyKeyInUse,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    Internal,
    InvalidMetadata,
    InvalidRequest,
    InvalidResponse,
    MalformedMessage,
    MessageTooLarge,
    NotBegun,
    NotFound,
    OutcomeOpen,
    OutcomeUnknown,
    ProviderUnavailable,
    RateLimited,
    RuleViolated,
    ScopeMissing,
    ShuttingDown,
    Unauthenticated,
    UnknownMethod,
    Unreachable,
    VersionMismatch,
)
from graphmesh_chassis.status import UnknownReasonError
from grpc import StatusCode

__all__ = [
    "AlreadyExists",
    "ApprovalDenied",
    "ApprovalExpired",
    "ApprovalMismatch",
    "ApprovalRequired",
    "ArtifactTooLarge",
    "BudgetExceeded",
    "CallerError",
    "Cancelled",
    "CircuitOpen",
    "ConcurrencyLimit",
    "ConnectionLost",
    "DatabaseUnavailable",
    "DeadlineExceeded",
    "Defect",
    "DependencyError",
    "Fenced",
    "FieldViolation",
    "GraphmeshError",
    "IdempotencyKeyInUse",
    "IdempotencyKeyRequired",
    "IdempotencyKeyReused",
    "Internal",
    "InvalidMetadata",
    "InvalidRequest",
    "InvalidResponse",
    "MalformedMessage",
    "MessageTooLarge",
    "NotBegun",
    "NotFound",
    "OutcomeOpen",
    "OutcomeUnknown",
    "ProviderUnavailable",
    "RateLimited",
    "RuleViolated",
    "ScopeMissing",
    "ShuttingDown",
    "StepLimit",
    "TokenLimit",
    "Unauthenticated",
    "UnknownMethod",
    "UnknownReasonError",
    "Unreachable",
    "ValueNotStorable",
    "VersionMismatch",
    "WriteAheadRequired",
]


class StepLimit(CallerError):
    """The run has begun {used} nodes and may begin {limit}; it was ended"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "STEP_LIMIT"


class TokenLimit(CallerError):
    """Models have used {used} tokens for the run, which may use {limit}; it was ended"""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = "TOKEN_LIMIT"


class BudgetExceeded(CallerError):
    """Models have cost {used} millionths of a US dollar for the run, which may cost {limit}; it was ended"""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = "BUDGET_EXCEEDED"


class ApprovalDenied(CallerError):
    """{by} denied the approval of {tool}: nothing was sent"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "APPROVAL_DENIED"


class ApprovalExpired(ApprovalDenied):
    """The approval {approval} of {tool} expired without an answer, which is a denial"""

    reason = "APPROVAL_EXPIRED"


class ApprovalMismatch(CallerError):
    """The approval {approval} is of another call of {tool}: nothing was sent"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "APPROVAL_MISMATCH"


class ArtifactTooLarge(CallerError):
    """An artifact of {bytes} bytes exceeds the limit of {limit}; it was not stored"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "ARTIFACT_TOO_LARGE"


class WriteAheadRequired(CallerError):
    """The effect {tool} needs durability="sync" and a checkpointer, this is {durability}: nothing was sent"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "WRITE_AHEAD_REQUIRED"


class ValueNotStorable(CallerError):
    """A value of the run cannot be stored: {key} {rule}"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "VALUE_NOT_STORABLE"
