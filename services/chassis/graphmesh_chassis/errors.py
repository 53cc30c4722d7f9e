"""The errors of the mesh, in one tree.

    GraphmeshError
    ├── CallerError                  the call is invalid: a repeat fails too
    │   ├── InvalidInput             the violations name the fields
    │   │   ├── InvalidRequest       ├── MalformedMessage     ├── IdempotencyKeyRequired
    │   │   └── InvalidMetadata      └── MessageTooLarge
    │   ├── FailedPrecondition
    │   │   ├── RuleViolated         ├── Fenced               ├── IdempotencyKeyReused
    │   │   └── ApprovalRequired     └── ApprovalMismatch
    │   ├── PermissionDenied
    │   │   ├── ScopeMissing         └── WorkloadNotAllowed
    │   │   └── CustomerMismatch
    │   ├── Unimplemented
    │   │   └── UnknownMethod
    │   ├── BudgetExceeded           ├── TokenLimit           (also ResourceExhausted)
    │   ├── NotFound                 ├── AlreadyExists        ├── Unauthenticated
    │   └── VersionMismatch          (also Aborted)
    ├── DependencyError              a dependency is unavailable: a repeat may succeed
    │   ├── Unavailable
    │   ├── NotBegun                 the call was not begun: a repeat is safe for every method
    │   │   ├── RateLimited          (also ResourceExhausted)
    │   │   │   └── ConcurrencyLimit
    │   │   ├── CircuitOpen          ├── Unreachable          ├── ShuttingDown      (also Unavailable)
    │   │   ├── ProviderMisconfigured (also Unavailable)
    │   │   │   └── EgressRefused
    │   │   └── LeaseExpired         └── IdempotencyKeyInUse  (also Aborted)
    │   └── OutcomeOpen              the call may have happened
    │       ├── ConnectionLost       ├── DatabaseUnavailable  ├── OutcomeUnknown    (also Unavailable)
    │       ├── ProviderUnavailable  (also Unavailable)
    │       └── DeadlineExceeded     └── Cancelled
    ├── Defect                       the server is defective: its log has the cause
    │   ├── Internal
    │   └── InvalidResponse
    ├── Aborted                      a conflict with another call
    └── ResourceExhausted            a limit is reached

The branch states whose fault an error is. Each error is also an instance of the class that is named like its gRPC
status (`Defect` for INTERNAL, `InvalidInput` for INVALID_ARGUMENT), which is all that a client knows of reasons that
have no class here. The first line of a class's docstring is the template of its message, formatted with the error's
data. Reasons are those of `graphmesh.common.v1.ErrorReason`. A service adds its own in its `errors.py`, by subclassing
the class of their status, and for ABORTED and RESOURCE_EXHAUSTED also a branch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

from google.protobuf.message import Message
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
        details: Sequence[Message] = (),
        **data: object,
    ) -> None:
        """`details` are messages of the service that refuses the call, which state more than a pair of `data` can."""
        self.details = tuple(details)
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


class Aborted(GraphmeshError):
    """Another call or writer was in the way"""

    code = StatusCode.ABORTED


class ResourceExhausted(GraphmeshError):
    """A limit is reached"""

    code = StatusCode.RESOURCE_EXHAUSTED


class CallerError(GraphmeshError):
    """The call is invalid"""

    is_refusal = True


class InvalidInput(CallerError):
    """The input is invalid"""

    code = StatusCode.INVALID_ARGUMENT
    reason = "INVALID_INPUT"

    def _default_message(self) -> str:
        broken = "; ".join(f"{violation.field}: {violation.description}" for violation in self.violations)
        return broken or super()._default_message()

    def move_into(self, field: str) -> None:
        """Name the fields as those of a message in a field of the request."""
        self.violations = tuple(replace(one, field=f"{field}.{one.field}") for one in self.violations)
        self.args = (self._default_message(),)


class InvalidRequest(InvalidInput):
    """The request violates its contract"""

    reason = "INVALID_REQUEST"


class MalformedMessage(InvalidInput):
    """The request is not a serialized {type}"""

    reason = "MALFORMED_MESSAGE"


class MessageTooLarge(InvalidInput):
    """The message exceeds the limit of {limit_bytes} bytes"""

    reason = "MESSAGE_TOO_LARGE"


class InvalidMetadata(InvalidInput):
    """The header {header} is missing or invalid: {rule}"""

    reason = "INVALID_METADATA"


class Unauthenticated(CallerError):
    """The call has no identity: the header {header} is missing"""

    code = StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(CallerError):
    """The caller may not make the call"""

    code = StatusCode.PERMISSION_DENIED


class ScopeMissing(PermissionDenied):
    """The caller lacks the scopes {scopes}"""

    reason = "SCOPE_MISSING"


class WorkloadNotAllowed(PermissionDenied):
    """The workload {workload} may not call this method"""

    reason = "WORKLOAD_NOT_ALLOWED"


class CustomerMismatch(PermissionDenied):
    """The call is bound to a customer, and its {field} is not that customer"""

    reason = "CUSTOMER_MISMATCH"


class NotFound(CallerError):
    """There is no {resource} {id}"""

    code = StatusCode.NOT_FOUND
    reason = "RESOURCE_NOT_FOUND"


class AlreadyExists(CallerError):
    """The {resource} {id} already exists"""

    code = StatusCode.ALREADY_EXISTS
    reason = "RESOURCE_EXISTS"


class VersionMismatch(Aborted, CallerError):
    """The {resource} was changed: expected version {expected}, found {actual}; read it again"""

    reason = "VERSION_MISMATCH"


class FailedPrecondition(CallerError):
    """The present state forbids the call"""

    code = StatusCode.FAILED_PRECONDITION


class RuleViolated(FailedPrecondition):
    """A business rule forbids the operation: {rule}"""

    reason = "RULE_VIOLATED"


class IdempotencyKeyRequired(InvalidInput):
    """The method has an effect and requires the header idempotency-key"""

    reason = "IDEMPOTENCY_KEY_REQUIRED"


class IdempotencyKeyReused(FailedPrecondition):
    """The idempotency key {key} was used with another request; nothing was changed"""

    reason = "IDEMPOTENCY_KEY_REUSED"


class Fenced(FailedPrecondition):
    """The run {run} was taken over: its epoch {epoch} has ended; nothing was stored"""

    reason = "FENCED"


class ApprovalRequired(FailedPrecondition):
    """The call requires an approval, given through RespondApproval"""

    reason = "APPROVAL_REQUIRED"


class ApprovalMismatch(FailedPrecondition):
    """The approval {approval} is of another call of {tool}"""

    reason = "APPROVAL_MISMATCH"


class Unimplemented(CallerError):
    """The server does not support the call"""

    code = StatusCode.UNIMPLEMENTED


class UnknownMethod(Unimplemented):
    """There is no method {method}"""

    reason = "UNKNOWN_METHOD"


class TokenLimit(ResourceExhausted, CallerError):
    """Models have used {used} tokens of the {limit} that the budget {budget} allows"""

    reason = "TOKEN_LIMIT"


class BudgetExceeded(ResourceExhausted, CallerError):
    """Models have cost {used} millionths of a US dollar of the {limit} that the budget {budget} allows"""

    reason = "BUDGET_EXCEEDED"


class DependencyError(GraphmeshError):
    """A dependency of the call is unavailable"""

    code = StatusCode.UNAVAILABLE
    retryable = True


class Unavailable(DependencyError):
    """The service does not respond"""


class NotBegun(DependencyError):
    """The call was not begun"""


class RateLimited(ResourceExhausted, NotBegun):
    """The rate limit of the service is exceeded; retry later"""

    reason = "RATE_LIMITED"


class ConcurrencyLimit(RateLimited):
    """The service processes {max_concurrency} calls and queues {max_queue} at most; retry later"""

    reason = "CONCURRENCY_LIMIT"


class CircuitOpen(Unavailable, NotBegun):
    """No replica of the service is healthy: its circuit breaker is open"""

    reason = "CIRCUIT_OPEN"


class Unreachable(Unavailable, NotBegun):
    """The service could not be reached; the call was not sent"""

    reason = "UNREACHABLE"


class ShuttingDown(Unavailable, NotBegun):
    """The server is shutting down"""

    reason = "SHUTTING_DOWN"


class IdempotencyKeyInUse(Aborted, NotBegun):
    """A call with the idempotency key {key} is in progress; a repeat gets its response"""

    reason = "IDEMPOTENCY_KEY_IN_USE"


class LeaseExpired(Aborted, NotBegun):
    """The lease of the run {run} expired before the effect was made; nothing was changed"""

    reason = "LEASE_EXPIRED"


class ProviderMisconfigured(Unavailable, NotBegun):
    """The provider {provider} rejects the {rejected} of the service's settings"""

    reason = "PROVIDER_MISCONFIGURED"
    retryable = False


class EgressRefused(ProviderMisconfigured):
    """The proxy of {workload} refuses {host}: it is not in egress.workloads.{workload}.hosts of mesh.yaml"""

    reason = "EGRESS_REFUSED"


class OutcomeOpen(DependencyError):
    """The call may have happened"""

    may_have_happened = True


class ConnectionLost(Unavailable, OutcomeOpen):
    """The connection broke after the call was sent; it may have happened"""

    reason = "CONNECTION_LOST"


class DatabaseUnavailable(Unavailable, OutcomeOpen):
    """The database of the service does not answer"""

    reason = "DATABASE_UNAVAILABLE"


class ProviderUnavailable(Unavailable, OutcomeOpen):
    """The provider {provider} does not answer"""

    reason = "PROVIDER_UNAVAILABLE"


class OutcomeUnknown(Unavailable, OutcomeOpen):
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
