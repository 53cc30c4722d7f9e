"""The errors of the mesh, in one tree.

    GraphmeshError
    ├── CallerError                  the call is invalid: a repeat fails too
    │   ├── InvalidRequest           ├── NotFound             ├── IdempotencyKeyRequired
    │   ├── MalformedMessage         ├── AlreadyExists        ├── IdempotencyKeyReused
    │   ├── MessageTooLarge          ├── VersionMismatch      ├── UnknownMethod
    │   ├── InvalidMetadata          ├── RuleViolated         ├── ScopeMissing
    │   ├── Unauthenticated          ├── Fenced
    │   └── ApprovalRequired
    ├── DependencyError              a dependency is unavailable: a repeat may succeed
    │   ├── NotBegun                 the call was not begun: a repeat is safe for every method
    │   │   ├── ConcurrencyLimit     ├── CircuitOpen          ├── ShuttingDown
    │   │   ├── RateLimited          ├── Unreachable          ├── IdempotencyKeyInUse
    │   │   └── LeaseExpired
    │   └── OutcomeOpen              the call may have happened
    │       ├── ConnectionLost       ├── DeadlineExceeded     ├── DatabaseUnavailable
    │       ├── ProviderUnavailable  ├── Cancelled
    │       └── OutcomeUnknown
    └── Defect                       the server is defective: its log has the cause
        ├── Internal
        └── InvalidResponse

The first line of a class's docstring is the template of its message, formatted with the error's data. Reasons are those
of `graphmesh.common.v1.ErrorReason`. A service adds its own by subclassing one of the branches in its `errors.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from grpc import StatusCode


@dataclass(frozen=True)
class FieldViolation:
    """A field of a request, and the rule that it breaks."""

    field: str
    """The dotted path: `lines[2].quantity`."""
    description: str


class GraphmeshError(Exception):
    """The call failed"""

    code = StatusCode.UNKNOWN
    reason = ""
    retryable = False
    """Whether the same call, made again later, may succeed."""
    may_have_happened = False
    """Whether the call may have had its effect in spite of the error."""
    is_refusal = False
    """Whether the service decided against the call, and not failed to execute it."""

    by_reason: ClassVar[dict[str, type["GraphmeshError"]]] = {}

    def __init_subclass__(cls) -> None:
        if "reason" in vars(cls):
            GraphmeshError.by_reason.setdefault(cls.reason, cls)

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        violations: Sequence[FieldViolation] = (),
        **data: object,
    ) -> None:
        self.data: Mapping[str, str] = {key: str(value) for key, value in data.items()}
        self.retry_after = retry_after
        self.violations = tuple(violations)
        super().__init__(message or self._default_message())

    def _default_message(self) -> str:
        template = (type(self).__doc__ or "").partition("\n")[0]
        try:
            return template.format_map(self.data)
        except KeyError:
            return template

    @property
    def message(self) -> str:
        return str(self.args[0])


class CallerError(GraphmeshError):
    """The call is invalid"""

    is_refusal = True


class InvalidRequest(CallerError):
    """The request violates its contract"""

    code = StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"

    def _default_message(self) -> str:
        return "; ".join(f"{violation.field}: {violation.description}" for violation in self.violations)


class MalformedMessage(CallerError):
    """The request is not a serialized {type}"""

    code = StatusCode.INVALID_ARGUMENT
    reason = "MALFORMED_MESSAGE"


class MessageTooLarge(CallerError):
    """The message exceeds the limit of {limit_bytes} bytes"""

    code = StatusCode.INVALID_ARGUMENT
    reason = "MESSAGE_TOO_LARGE"


class InvalidMetadata(CallerError):
    """The header {header} is missing or invalid: {rule}"""

    code = StatusCode.INVALID_ARGUMENT
    reason = "INVALID_METADATA"


class Unauthenticated(CallerError):
    """The call has no identity: the header {header} is missing"""

    code = StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class ScopeMissing(CallerError):
    """The caller lacks the scopes {scopes}"""

    code = StatusCode.PERMISSION_DENIED
    reason = "SCOPE_MISSING"


class NotFound(CallerError):
    """There is no {resource} {id}"""

    code = StatusCode.NOT_FOUND
    reason = "RESOURCE_NOT_FOUND"


class AlreadyExists(CallerError):
    """The {resource} {id} already exists"""

    code = StatusCode.ALREADY_EXISTS
    reason = "RESOURCE_EXISTS"


class VersionMismatch(CallerError):
    """The {resource} was changed: expected version {expected}, found {actual}; read it again"""

    code = StatusCode.ABORTED
    reason = "VERSION_MISMATCH"


class RuleViolated(CallerError):
    """A business rule forbids the operation: {rule}"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "RULE_VIOLATED"


class IdempotencyKeyRequired(CallerError):
    """The method has an effect and requires the header idempotency-key"""

    code = StatusCode.INVALID_ARGUMENT
    reason = "IDEMPOTENCY_KEY_REQUIRED"


class IdempotencyKeyReused(CallerError):
    """The idempotency key {key} was used with another request; nothing was changed"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "IDEMPOTENCY_KEY_REUSED"


class Fenced(CallerError):
    """The run {run} was taken over: its epoch {epoch} has ended; nothing was stored"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "FENCED"


class ApprovalRequired(CallerError):
    """The call requires an approval, given through RespondApproval"""

    code = StatusCode.FAILED_PRECONDITION
    reason = "APPROVAL_REQUIRED"


class UnknownMethod(CallerError):
    """There is no method {method}"""

    code = StatusCode.UNIMPLEMENTED
    reason = "UNKNOWN_METHOD"


class DependencyError(GraphmeshError):
    """A dependency of the call is unavailable"""

    code = StatusCode.UNAVAILABLE
    retryable = True


class NotBegun(DependencyError):
    """The call was not begun"""


class ConcurrencyLimit(NotBegun):
    """The service processes {max_concurrency} calls and queues {max_queue} at most; retry later"""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = "CONCURRENCY_LIMIT"


class RateLimited(NotBegun):
    """The rate limit of the service is exceeded; retry later"""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = "RATE_LIMITED"


class CircuitOpen(NotBegun):
    """No replica of the service is healthy: its circuit breaker is open"""

    reason = "CIRCUIT_OPEN"


class Unreachable(NotBegun):
    """The service could not be reached; the call was not sent"""

    reason = "UNREACHABLE"


class ShuttingDown(NotBegun):
    """The server is shutting down"""

    reason = "SHUTTING_DOWN"


class IdempotencyKeyInUse(NotBegun):
    """A call with the idempotency key {key} is in progress; a repeat gets its response"""

    code = StatusCode.ABORTED
    reason = "IDEMPOTENCY_KEY_IN_USE"


class LeaseExpired(NotBegun):
    """The lease of the run {run} expired before the effect was made; nothing was changed"""

    code = StatusCode.ABORTED
    reason = "LEASE_EXPIRED"


class OutcomeOpen(DependencyError):
    """The call may have happened"""

    may_have_happened = True


class ConnectionLost(OutcomeOpen):
    """The connection broke after the call was sent; it may have happened"""

    reason = "CONNECTION_LOST"


class DatabaseUnavailable(OutcomeOpen):
    """The database of the service does not answer"""

    reason = "DATABASE_UNAVAILABLE"


class ProviderUnavailable(OutcomeOpen):
    """The provider {provider} does not answer"""

    reason = "PROVIDER_UNAVAILABLE"


class OutcomeUnknown(OutcomeOpen):
    """The provider was called for the idempotency key {key} and cannot report now whether it made the effect"""

    reason = "OUTCOME_UNKNOWN"


class DeadlineExceeded(OutcomeOpen):
    """The deadline of the call has passed"""

    code = StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"
    retryable = False


class Cancelled(OutcomeOpen):
    """The call was cancelled"""

    code = StatusCode.CANCELLED
    reason = "CANCELLED"
    retryable = False


class Defect(GraphmeshError):
    """The server is defective; its log has the cause"""

    code = StatusCode.INTERNAL
    may_have_happened = True


class Internal(Defect):
    """The server failed; its log has the cause"""

    reason = "INTERNAL"


class InvalidResponse(Defect):
    """The server's response violates its contract and was not sent"""

    reason = "INVALID_RESPONSE"


@contextmanager
def rule_violations(broken: type[Exception]) -> Iterator[None]:
    """Turn a domain's exception for a broken rule into RuleViolated, with its message and its attribute `rule`."""
    try:
        yield
    except broken as error:
        raise RuleViolated(str(error), rule=getattr(error, "rule", "")) from error
