"""The tree of errors, and its conversion to and from gRPC statuses."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from graphmesh.common.v1 import ErrorReason
from graphmesh_chassis import errors
from graphmesh_chassis.errors import (
    Aborted,
    AlreadyExists,
    CallerError,
    Cancelled,
    CircuitOpen,
    ConcurrencyLimit,
    ConnectionLost,
    DeadlineExceeded,
    Defect,
    DependencyError,
    FailedPrecondition,
    FieldViolation,
    GraphmeshError,
    Internal,
    InvalidInput,
    InvalidRequest,
    MessageTooLarge,
    NotBegun,
    NotFound,
    PermissionDenied,
    RateLimited,
    ResourceExhausted,
    RuleViolated,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unreachable,
)
from graphmesh_chassis.status import DOMAIN, FLAGS, from_rpc_error, from_status, to_grpc, to_status
from grpc.aio import AioRpcError, Metadata

ROOT = Path(__file__).parents[3]
CATALOGUE = {name.removeprefix("ERROR_REASON_") for name in dict(ErrorReason.items())} - {"UNSPECIFIED"}


def subclasses(kind: type[GraphmeshError]) -> Iterator[type[GraphmeshError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def import_all_errors() -> None:
    for module in sorted(
        [*ROOT.glob("services/*/graphmesh_*/errors.py"), *ROOT.glob("orchestrator/**/graphmesh_*/errors.py")]
    ):
        importlib.import_module(f"{module.parent.name}.errors")


def chassis_errors() -> list[type[GraphmeshError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GraphmeshError)]


KINDS = [kind for kind in chassis_errors() if kind.reason]


def received(
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "", initial: str = "", trailing: bytes = b""
) -> AioRpcError:
    """A failed call as a client receives it, with Envoy's flags and the service's status."""
    flags = Metadata(("x-envoy-response-flags", initial)) if initial else Metadata()
    status = Metadata(("grpc-status-details-bin", trailing)) if trailing else Metadata()
    return AioRpcError(code, flags, status, details)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_survives_its_status(kind: type[GraphmeshError]) -> None:
    """Class, message, data, violations and retry time survive the conversion to google.rpc.Status and back."""
    violations = [FieldViolation("lines[2].quantity", "must be positive")]
    sent = kind("it failed", retry_after=1.25, violations=violations, resource="invoice", id=42)
    got = from_status(status_pb2.Status.FromString(to_status(sent).SerializeToString()))
    assert type(got) is kind
    assert (got.message, got.data) == ("it failed", {"resource": "invoice", "id": "42"})
    assert (got.violations, got.retry_after) == (tuple(violations), 1.25)
    assert (got.code, got.reason, got.retryable) == (kind.code, kind.reason, kind.retryable)


def test_catalogue_in_the_contract_is_complete() -> None:
    """Each reason of ErrorReason has an error class, and each error class has its reason there."""
    import_all_errors()
    ours = {kind.reason for kind in subclasses(GraphmeshError) if kind.__module__.startswith("graphmesh_")} - {""}
    assert ours == CATALOGUE


def test_every_reason_has_its_code_and_an_example() -> None:
    """Each entry begins with the gRPC code and contains an ErrorInfo as it is sent (AIP-193)."""
    text = (ROOT / "protos/graphmesh/common/v1/error_reason.proto").read_text()
    entries = dict(re.findall(r"((?:  //[^\n]*\n)+)  ERROR_REASON_(\w+) =", text))
    comments = {reason: comment for comment, reason in entries.items()}
    for reason in CATALOGUE:
        assert f'"reason": "{reason}", "domain": "{DOMAIN}"' in comments[reason]
        [code] = re.findall(r"\A  // ([A-Z_]+)[.,]", comments[reason])
        if reason in GraphmeshError.by_reason:
            assert GraphmeshError.by_reason[reason].code.name == code


def test_tree_in_the_docstring_has_every_class() -> None:
    drawn = set(re.findall(r"[A-Z]\w+", (errors.__doc__ or "").partition("GraphmeshError")[2].partition("\n\n")[0]))
    known = {kind.__name__ for kind in chassis_errors()} - {"GraphmeshError"}
    assert known <= drawn
    assert {word for word in drawn if hasattr(errors, word)} == known


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_branch_decides_whether_to_retry(kind: type[GraphmeshError]) -> None:
    """Each error is in one branch. A call that was not begun has not happened; only dependency errors are retryable."""
    assert sum(issubclass(kind, branch) for branch in (CallerError, DependencyError, Defect)) == 1
    if issubclass(kind, CallerError | NotBegun):
        assert not kind.may_have_happened
    if issubclass(kind, CallerError | Defect):
        assert not kind.retryable


def test_message_is_the_formatted_docstring() -> None:
    """Its first line; an explicit message takes precedence."""
    assert str(NotFound(resource="invoice", id="in_1")) == "There is no invoice in_1"
    assert str(NotFound()) == "There is no {resource} {id}"
    assert str(RuleViolated("too much", rule="cap")) == "too much"
    violations = [FieldViolation("a", "is odd"), FieldViolation("b", "is even")]
    assert str(InvalidRequest(violations=violations)) == "a: is odd; b: is even"


def test_cause_is_not_sent() -> None:
    error = Internal()
    error.__cause__ = ValueError("password=hunter2")
    assert b"hunter2" not in to_status(error).SerializeToString()


def test_status_is_limited_in_size() -> None:
    """gRPC drops trailers over 8 KiB, so messages, data and violations are cut; omitted violations are counted."""
    violations = [FieldViolation(f"lines[{number}].description", "é" * 300) for number in range(500)]
    error = InvalidRequest("m" * 10_000, violations=violations, detail="d" * 10_000)
    [(_, packed)] = to_grpc(error).trailing_metadata
    assert len(packed) < 6144
    got = from_status(status_pb2.Status.FromString(packed))
    *listed, last = got.violations
    assert last == FieldViolation("*", f"and {500 - len(listed)} more violations, too many to send")


def test_unknown_reason_keeps_its_code() -> None:
    """An error of another domain keeps its code and reason."""
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="no such order")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="ORDER_MISSING", domain="shop", metadata={"id": "o1"}))
    got = from_status(status)
    assert type(got) is NotFound
    assert (got.code, got.reason, got.message) == (grpc.StatusCode.NOT_FOUND, "ORDER_MISSING", "no such order")
    assert (got.data, got.retryable, got.may_have_happened) == ({"id": "o1"}, False, False)


BY_STATUS: dict[str, type[GraphmeshError]] = {
    "ABORTED": Aborted,
    "ALREADY_EXISTS": AlreadyExists,
    "CANCELLED": Cancelled,
    "DATA_LOSS": Defect,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "FAILED_PRECONDITION": FailedPrecondition,
    "INTERNAL": Defect,
    "INVALID_ARGUMENT": InvalidInput,
    "NOT_FOUND": NotFound,
    "OUT_OF_RANGE": InvalidInput,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAUTHENTICATED": Unauthenticated,
    "UNAVAILABLE": Unavailable,
    "UNIMPLEMENTED": Unimplemented,
    "UNKNOWN": Defect,
}


def test_class_of_every_error_is_one_of_its_status() -> None:
    """A client that knows only the status of an error catches it by the same name as a program that has its class."""
    import_all_errors()
    for kind in subclasses(GraphmeshError):
        if kind.reason:
            assert issubclass(kind, BY_STATUS[kind.code.name]), kind


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
@pytest.mark.parametrize("reason", ["", "ORDER_MISSING"])
def test_status_decides_the_class_of_an_unknown_reason(code: grpc.StatusCode, reason: str) -> None:
    status = status_pb2.Status(code=code.value[0], message="it failed")
    if reason:
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="shop"))
    got = from_status(status)
    assert isinstance(got, BY_STATUS[code.name])
    assert (got.code, got.message) == (code, "it failed")
    assert got.reason == reason or not reason


def test_limit_with_a_time_to_retry_is_a_rate_limit() -> None:
    """A full queue empties; the budget of a run does not."""
    status = status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="QUOTA", domain="shop"))
    assert type(from_status(status)) is ResourceExhausted
    assert not from_status(status).retryable
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay={"seconds": 3}))
    got = from_status(status)
    assert isinstance(got, RateLimited)
    assert (got.retryable, got.retry_after, got.reason) == (True, 3.0, "QUOTA")


def test_unknown_reason_keeps_its_violations() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="BAD_ORDER", domain="shop"))
    bad = error_details_pb2.BadRequest.FieldViolation(field="size", description="is odd")
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[bad]))
    assert from_status(status).violations == (FieldViolation("size", "is odd"),)


def test_reason_of_another_domain_is_unknown() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="RESOURCE_NOT_FOUND", domain="shop"))
    assert from_status(status).reason == "RESOURCE_NOT_FOUND"
    status.code = grpc.StatusCode.ABORTED.value[0]
    assert type(from_status(status)) is Aborted


def test_metadata_cannot_override_arguments() -> None:
    """Metadata keys may be equal to names of constructor arguments."""
    status = to_status(NotFound(resource="x", id="y"))
    info = error_details_pb2.ErrorInfo(
        reason="RESOURCE_NOT_FOUND", domain=DOMAIN, metadata={"message": "m", "self": "s"}
    )
    status.details[0].Pack(info)
    assert isinstance(from_status(status), NotFound)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("UH", CircuitOpen),
        ("UO", ConcurrencyLimit),
        ("RL", RateLimited),
        ("UF", Unreachable),
        ("UF,URX", Unreachable),
        ("NR", Unreachable),
        ("NC", Unreachable),
        ("UC", ConnectionLost),
        ("URX,UC", ConnectionLost),
        ("UR", ConnectionLost),
        ("LR", ConnectionLost),
        ("UPE", ConnectionLost),
        ("UT", DeadlineExceeded),
        ("DT", DeadlineExceeded),
        ("SI", DeadlineExceeded),
    ],
)
def test_response_flags_decide_the_error(flags: str, kind: type[GraphmeshError]) -> None:
    """Without a status of the service, Envoy's flags show what happened and whether a repeat is safe."""
    got = from_rpc_error(received(initial=flags), "billing.Charge")
    assert type(got) is kind
    assert got.message.startswith("billing.Charge: ")
    assert "{" not in got.message
    assert got.data["service"] == "billing.Charge"


def test_every_flag_has_a_case() -> None:
    assert len({flag for flag, _, _ in FLAGS}) == len(FLAGS) == 13


def test_status_of_the_service_takes_precedence_over_flags() -> None:
    packed = to_status(NotFound(resource="invoice", id="in_1")).SerializeToString()
    got = from_rpc_error(received(initial="UC", trailing=packed), "billing.GetInvoice")
    assert isinstance(got, NotFound)


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; connection refused", Unreachable),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", ConnectionLost),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, "Locally cancelled by application!", errors.Cancelled),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 7)", MessageTooLarge),
        (grpc.StatusCode.UNIMPLEMENTED, "", errors.UnknownMethod),
    ],
)
def test_without_status_and_flags_the_code_decides_the_error(
    code: grpc.StatusCode, details: str, kind: type[GraphmeshError]
) -> None:
    """gRPC's own codes, where no service responded. Only a failure to connect proves that the call was not sent."""
    assert type(from_rpc_error(received(code, details), "billing.Charge")) is kind


def test_texts_of_an_error_that_no_string_can_hold_are_sent_with_escapes() -> None:
    """Graph code chooses them: its run has to end with the error all the same."""
    data: dict[str, Any] = {"c\ud800": "d"}
    error = RuleViolated("a\ud800", rule="b\udfff", **data)

    status = to_status(error)

    assert status.message == "a\\ud800"
    assert dict(from_status(status).data) == {"rule": "b\\udfff", "c\\ud800": "d"}


def test_large_errors_are_sent_shortened() -> None:
    data: dict[str, Any] = {f"k{number}": "y" * 1_000_000 for number in range(1000)}
    error = RuleViolated("x" * 1_000_000, **data)

    assert to_status(error).ByteSize() < 8 * 1024
