"""Errors that nodes of graphs raise."""

from graphmesh_chassis.errors import CallerError
from grpc import StatusCode


class StepLimit(CallerError):
    """The run began {used} nodes, as many as it may ({limit}), and was ended"""

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
    """{by} did not agree to {tool}: nothing was sent"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "APPROVAL_DENIED"


class ApprovalExpired(ApprovalDenied):
    """Nobody answered the approval {approval} of {tool} in time, which is a denial"""

    reason = "APPROVAL_EXPIRED"


class ApprovalMismatch(CallerError):
    """The approval {approval} is of another call of {tool}: nothing was sent"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "APPROVAL_MISMATCH"


class ArtifactTooLarge(CallerError):
    """An artifact of {bytes} bytes is more than one may have ({limit}); it was not stored"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "ARTIFACT_TOO_LARGE"


class WriteAheadRequired(CallerError):
    """The effect {tool} needs durability="sync" and a checkpointer, this is {durability}: nothing was sent"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "WRITE_AHEAD_REQUIRED"
