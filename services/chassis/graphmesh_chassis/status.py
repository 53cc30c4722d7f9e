"""The only conversion between errors and gRPC statuses, in both directions.

An error is sent as `google.rpc.Status` with an `ErrorInfo` (AIP-193) and, where they apply, `BadRequest` and
`RetryInfo`. A status that a service sent, or Envoy in front of it, becomes the same error again.
"""

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from graphmesh_chassis import metadata
from graphmesh_chassis.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    CircuitOpen,
    ConcurrencyLimit,
    ConnectionLost,
    DeadlineExceeded,
    Defect,
    FailedPrecondition,
    FieldViolation,
    GraphmeshError,
    Internal,
    InvalidInput,
    InvalidResponse,
    MessageTooLarge,
    NotFound,
    PermissionDenied,
    RateLimited,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    UnknownMethod,
    Unreachable,
)

DOMAIN = "graphmesh"
"""The `ErrorInfo.domain` of the reasons in `graphmesh.common.v1.ErrorReason`."""

MAX_VIOLATION_BYTES = 4096
"""Limit of the sent field violations: gRPC refuses trailers of more than 8 KiB, in base64."""

MAX_DATA = 16
"""The most pairs of an error's data that are sent, for the same reason."""

MAX_DETAIL_BYTES = 3072
"""The most bytes of an error's details that are sent, for the same reason; a detail beyond it is left out."""

FLAGS: tuple[tuple[str, type[GraphmeshError], str], ...] = (
    ("UC", ConnectionLost, "the connection broke after the call was sent; it may have happened"),
    ("UR", ConnectionLost, "the service cut the call off; it may have happened"),
    ("LR", ConnectionLost, "the mesh cut the call off; it may have happened"),
    ("UPE", ConnectionLost, "the service broke the protocol; the call may have happened"),
    ("UT", DeadlineExceeded, "no response in time; the call may have happened"),
    ("DT", DeadlineExceeded, "no response in time; the call may have happened"),
    ("SI", DeadlineExceeded, "no message within the idle timeout; the call may have happened"),
    ("UH", CircuitOpen, "no replica is healthy, or the circuit breaker of each is open"),
    ("UF", Unreachable, "the connection failed; the call was not sent"),
    ("NR", Unreachable, "the mesh has no route to it; the call was not sent"),
    ("NC", Unreachable, "the mesh has no such cluster; the call was not sent"),
    ("UO", ConcurrencyLimit, "the limit of concurrent calls in the mesh is exceeded"),
    ("RL", RateLimited, "the rate limit is exceeded"),
)
"""Envoy's response flags, with the error and the message of each. Of several flags in a response the first one here
counts, so those after which the call may have happened precede the others."""
TOO_LARGE = re.compile(r"SERVER: Received message larger than max \(\d+ vs\. (\d+)\)")
"""gRPC's own status text, which has no reason, for a message above the limit."""
LARGE_RESPONSE = re.compile(r"CLIENT: Received message larger than max \((\d+) vs\. (\d+)\)")


_BY_CODE: dict[grpc.StatusCode, type[GraphmeshError]] = {
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.DATA_LOSS: Defect,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.INTERNAL: Defect,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.OUT_OF_RANGE: InvalidInput,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.UNKNOWN: Defect,
}
"""The classes of errors whose reason has none."""
_WITHOUT_REASON: dict[grpc.StatusCode, type[GraphmeshError]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.UNIMPLEMENTED: UnknownMethod,
}
"""The errors that gRPC and proxies report without a reason."""


def to_status(error: GraphmeshError) -> status_pb2.Status:
    """The `google.rpc.Status` of an error. Its texts are shortened, and have escapes for what no string can hold."""
    status = status_pb2.Status(code=error.code.value[0], message=_text(error.message, 1024))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    data = islice(error.data.items(), MAX_DATA)
    info.metadata.update({_text(key, 64): _text(value, 256) for key, value in data})
    details: list[Message] = [info]
    if error.violations:
        details.append(_bad_request(error.violations))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after * 1e9))
        details.append(retry)
    left = MAX_DETAIL_BYTES
    for own in error.details:
        if (left := left - own.ByteSize()) >= 0:
            details.append(own)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _text(text: str, length: int) -> str:
    return text[:length].encode("utf-8", "backslashreplace").decode()


def to_grpc(error: GraphmeshError) -> grpc.Status:
    """The status of an error, as `ServicerContext.abort_with_status` takes it."""
    made = rpc_status.to_status(to_status(error))
    complete: grpc.Status = made._replace(trailing_metadata=(*made.trailing_metadata, *_retry_headers(error)))
    return complete


def _retry_headers(error: GraphmeshError) -> Iterable[tuple[str, str]]:
    """The headers by which clients of HTTP know when to retry (draft-ietf-httpapi-ratelimit-headers-10)."""
    if error.retry_after is None:
        return
    seconds = max(1, math.ceil(error.retry_after))
    yield metadata.RETRY_AFTER, str(seconds)
    if isinstance(error, RateLimited) and {"rate", "calls", "period_seconds"} <= error.data.keys():
        name, calls, period = (error.data[key] for key in ("rate", "calls", "period_seconds"))
        yield metadata.RATE_LIMIT_POLICY, f'"{name}";q={calls};w={period}'
        yield metadata.RATE_LIMIT, f'"{name}";r=0;t={seconds}'


def from_status(status: status_pb2.Status) -> GraphmeshError:
    """The inverse of `to_status`. A reason that has no class here becomes an error of the class of its code."""
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    retry_after: float | None = None
    details = []
    for detail in status.details:
        if detail.Unpack(info) or detail.Unpack(bad):
            continue
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif (own := _unpacked(detail)) is not None:
            details.append(own)
    violations = tuple(FieldViolation(broken.field, broken.description) for broken in bad.field_violations)
    code = _code(status.code)
    kind = GraphmeshError.by_reason.get(info.reason) if info.domain == DOMAIN else None
    kind = kind or (None if info.reason else _WITHOUT_REASON.get(code))
    data = {key: value for key, value in info.metadata.items() if key not in _ARGUMENTS}
    if kind is not None:
        return kind(status.message, retry_after=retry_after, violations=violations, details=details, **data)
    error = _class_of(code, retry_after)(
        status.message, retry_after=retry_after, violations=violations, details=details, **data
    )
    error.code, error.reason = code, info.reason
    error.retryable = code is grpc.StatusCode.UNAVAILABLE or retry_after is not None
    error.may_have_happened |= code in _MAY_HAVE_HAPPENED
    error.is_refusal &= not error.retryable
    return error


def _unpacked(detail: Any) -> Message | None:
    """Return a detail as a message; None where its type is not known here, or its bytes are none of it."""
    try:
        kind = descriptor_pool.Default().FindMessageTypeByName(detail.TypeName())
        return message_factory.GetMessageClass(kind).FromString(detail.value)
    except (KeyError, DecodeError):
        return None


def _class_of(code: grpc.StatusCode, retry_after: float | None) -> type[GraphmeshError]:
    """Return the class of a code. Of limits, only one that names a time to retry is not that of the caller's budget."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_after is not None:
        return RateLimited
    return _BY_CODE.get(code, GraphmeshError)


_MAY_HAVE_HAPPENED = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
}


_ARGUMENTS = {"self", "message", "retry_after", "violations", "details", "code", "reason"}


def from_rpc_error(error: grpc.aio.AioRpcError, service: str) -> GraphmeshError:
    """The error for the failure of a call to `service`.

    A status of the service itself takes precedence. Without one the mesh failed, and Envoy's response flags show
    whether the call was sent; without flags the channel did not reach Envoy. To clients Envoy sends details with the
    reason of the flags, which state less than the flags do.
    """
    initial = metadata.as_mapping(error.initial_metadata())
    trailing = metadata.as_mapping(error.trailing_metadata())
    packed = trailing.get(metadata.STATUS_DETAILS) or initial.get(metadata.STATUS_DETAILS)
    sent: GraphmeshError | None = None
    if isinstance(packed, bytes):
        with suppress(DecodeError):  # of a foreign server
            sent = from_status(status_pb2.Status.FromString(packed))
    flags = metadata.text(initial, metadata.RESPONSE_FLAGS) or metadata.text(trailing, metadata.RESPONSE_FLAGS)
    present = set(flags.split(","))
    for flag, kind, meaning in FLAGS:
        if flag in present and (sent is None or sent.reason == kind.reason):
            retry_after = _rate_limit_reset(trailing) if kind is RateLimited else None
            message = f"{service}: {meaning} (Envoy: {flag})"
            return kind(message, retry_after=retry_after, service=service, flag=flag)
    if sent is not None:
        return sent
    code = error.code()
    details = error.details() or ""
    if refused := TOO_LARGE.search(details):
        return MessageTooLarge(limit_bytes=refused[1])
    if response := LARGE_RESPONSE.search(details):
        limit = f"{service}: the response has {response[1]} bytes, and may have {response[2]}"
        return InvalidResponse(limit, limit_bytes=response[2])
    if code is grpc.StatusCode.UNAVAILABLE or "RST_STREAM" in details:
        return _without_envoy(details, service)
    return from_status(status_pb2.Status(code=code.value[0], message=f"{service}: {details}"))


def _rate_limit_reset(headers: metadata.Metadata) -> float | None:
    """Seconds until Envoy's rate limit lets calls through again; None where Envoy does not report them."""
    reset = metadata.text(headers, metadata.RATE_LIMIT_RESET)
    return float(reset) if reset.isdigit() else None


NOT_CONNECTED = ("failed to connect", "errors resolving", "dns resolution failed")
"""gRPC's status texts for an address that does not respond, or that no name server resolves."""


def _without_envoy(details: str, service: str) -> GraphmeshError:
    """The error for a broken channel or stream. Only without a connection it is certain that the call was not sent."""
    kind = Unreachable if any(text in details.lower() for text in NOT_CONNECTED) else ConnectionLost
    return kind(f"{service}: {kind.__doc__} ({details[:200]})", service=service)


def _code(number: int) -> grpc.StatusCode:
    name = code_pb2.Code.Name(number) if number in code_pb2.Code.values() else "UNKNOWN"
    return grpc.StatusCode[name]


def _bad_request(violations: tuple[FieldViolation, ...]) -> error_details_pb2.BadRequest:
    bad, size = error_details_pb2.BadRequest(), 0
    for index, violation in enumerate(violations):
        entry = error_details_pb2.BadRequest.FieldViolation(
            field=_text(violation.field, 256), description=_text(violation.description, 256)
        )
        size += entry.ByteSize() + 4
        if size > MAX_VIOLATION_BYTES:
            more = f"and {len(violations) - index} more violations, too many to send"
            bad.field_violations.add(field="*", description=more)
            break
        bad.field_violations.append(entry)
    return bad
