"""One tree of errors, and one door between it and the wire."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from graphmesh.common.v1 import ErrorReason
from graphmesh_chassis import errors
from graphmesh_chassis.errors import (
    CallerError,
    CircuitOpen,
    ConcurrencyLimit,
    ConnectionLost,
    DeadlineExceeded,
    Defect,
    DependencyError,
    FieldViolation,
    GraphmeshError,
    Internal,
    InvalidRequest,
    MessageTooLarge,
    NotBegun,
    NotFound,
    RateLimited,
    RuleViolated,
    Unreachable,
)
from graphmesh_chassis.status import DOMAIN, FLAGS, ForeignError, from_rpc_error, from_status, to_grpc, to_status
from grpc.aio import AioRpcError, Metadata

ROOT = Path(__file__).parents[3]
CATALOGUE = {name.removeprefix("ERROR_REASON_") for name in dict(ErrorReason.items())} - {"UNSPECIFIED"}


def subclasses(kind: type[GraphmeshError]) -> Iterator[type[GraphmeshError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def of_the_chassis() -> list[type[GraphmeshError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GraphmeshError)]


KINDS = [kind for kind in of_the_chassis() if kind.reason]


def received(
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "", initial: str = "", trailing: bytes = b""
) -> AioRpcError:
    """What a client gets of a call that failed, with Envoy's flags and the service's status."""
    flags = Metadata(("x-envoy-response-flags", initial)) if initial else Metadata()
    status = Metadata(("grpc-status-details-bin", trailing)) if trailing else Metadata()
    return AioRpcError(code, flags, status, details)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_comes_back_from_the_wire(kind: type[GraphmeshError]) -> None:
    """Class, message, data, violations and the time to wait survive the way through google.rpc.Status."""
    violations = [FieldViolation("lines[2].quantity", "must be positive")]
    sent = kind("it failed", retry_after=1.25, violations=violations, resource="invoice", id=42)
    got = from_status(status_pb2.Status.FromString(to_status(sent).SerializeToString()))
    assert type(got) is kind
    assert (got.message, got.data) == ("it failed", {"resource": "invoice", "id": "42"})
    assert (got.violations, got.retry_after) == (tuple(violations), 1.25)
    assert (got.code, got.reason, got.retryable) == (kind.code, kind.reason, kind.retryable)


def test_the_catalogue_in_the_contract_is_complete() -> None:
    """Each reason of ErrorReason is one of our errors, and each of our errors has its entry there."""
    for module in sorted(
        [*ROOT.glob("services/*/graphmesh_*/errors.py"), *ROOT.glob("orchestrator/**/graphmesh_*/errors.py")]
    ):
        importlib.import_module(f"{module.parent.name}.errors")
    ours = {kind.reason for kind in subclasses(GraphmeshError) if kind.__module__.startswith("graphmesh_")} - {""}
    assert ours == CATALOGUE


def test_every_reason_has_a_sentence_and_an_example() -> None:
    """The catalogue explains itself: the gRPC code first, and an ErrorInfo as it would come (AIP-193)."""
    text = (ROOT / "protos/graphmesh/common/v1/error_reason.proto").read_text()
    entries = dict(re.findall(r"((?:  //[^\n]*\n)+)  ERROR_REASON_(\w+) =", text))
    comments = {reason: comment for comment, reason in entries.items()}
    for reason in CATALOGUE:
        assert f'"reason": "{reason}", "domain": "{DOMAIN}"' in comments[reason]
        [code] = re.findall(r"\A  // ([A-Z_]+)[.,]", comments[reason])
        if reason in GraphmeshError.by_reason:
            assert GraphmeshError.by_reason[reason].code.name == code


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The drawing at the top of errors.py names every class."""
    drawn = set(re.findall(r"[A-Z]\w+", (errors.__doc__ or "").partition("GraphmeshError")[2].partition("\n\n")[0]))
    known = {kind.__name__ for kind in of_the_chassis()} - {"GraphmeshError"}
    assert known <= drawn
    assert {word for word in drawn if hasattr(errors, word)} == known


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_says_whose_fault_it_is(kind: type[GraphmeshError]) -> None:
    """Three branches; what was not begun has not happened, and only a dependency's failure is worth a repeat."""
    assert sum(issubclass(kind, branch) for branch in (CallerError, DependencyError, Defect)) == 1
    if issubclass(kind, CallerError | NotBegun):
        assert not kind.may_have_happened
    if issubclass(kind, CallerError | Defect):
        assert not kind.retryable


def test_an_error_speaks_in_its_docstring() -> None:
    """The first line of the docstring is the message, filled in; a message of one's own wins."""
    assert str(NotFound(resource="invoice", id="in_1")) == "There is no invoice in_1"
    assert str(NotFound()) == "There is no {resource} {id}"
    assert str(RuleViolated("too much", rule="cap")) == "too much"
    violations = [FieldViolation("a", "is odd"), FieldViolation("b", "is even")]
    assert str(InvalidRequest(violations=violations)) == "a: is odd; b: is even"


def test_a_cause_is_not_sent() -> None:
    """What led to an error is for the log."""
    error = Internal()
    error.__cause__ = ValueError("password=hunter2")
    assert b"hunter2" not in to_status(error).SerializeToString()


def test_a_status_stays_small() -> None:
    """gRPC drops trailers over 8 KiB: long messages, data and violations are cut, and what is left out is counted."""
    violations = [FieldViolation(f"lines[{number}].description", "é" * 300) for number in range(500)]
    error = InvalidRequest("m" * 10_000, violations=violations, detail="d" * 10_000)
    [(_, packed)] = to_grpc(error).trailing_metadata
    assert len(packed) < 6144
    got = from_status(status_pb2.Status.FromString(packed))
    *listed, last = got.violations
    assert last == FieldViolation("*", f"and {500 - len(listed)} more violations, too many to send")


def test_a_foreign_reason_keeps_its_code() -> None:
    """Another team's error is not one of ours, but can be told apart by its code and reason all the same."""
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="no such order")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="ORDER_MISSING", domain="shop", metadata={"id": "o1"}))
    got = from_status(status)
    assert isinstance(got, ForeignError)
    assert (got.code, got.reason, got.message) == (grpc.StatusCode.NOT_FOUND, "ORDER_MISSING", "no such order")
    assert (got.data, got.retryable, got.may_have_happened) == ({"id": "o1"}, False, False)


def test_a_foreign_reason_keeps_its_violations() -> None:
    """Which fields are bad is said whoever's reason it is."""
    status = status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="BAD_ORDER", domain="shop"))
    bad = error_details_pb2.BadRequest.FieldViolation(field="size", description="is odd")
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[bad]))
    assert from_status(status).violations == (FieldViolation("size", "is odd"),)


def test_a_foreign_domain_does_not_borrow_our_reasons() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="RESOURCE_NOT_FOUND", domain="shop"))
    assert isinstance(from_status(status), ForeignError)


def test_data_cannot_take_the_place_of_arguments() -> None:
    """A status whose metadata has keys like ours for other things is read all the same."""
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
def test_the_flags_of_envoy_tell_whether_a_call_was_sent(flags: str, kind: type[GraphmeshError]) -> None:
    """Without a status of the service's own, the mesh's flags say what happened and whether a repeat is safe (D4)."""
    got = from_rpc_error(received(initial=flags), "billing.Charge")
    assert type(got) is kind
    assert got.message.startswith("billing.Charge: ")
    assert "{" not in got.message
    assert got.data["service"] == "billing.Charge"


def test_every_flag_has_a_case_above() -> None:
    assert len({flag for flag, _, _ in FLAGS}) == len(FLAGS) == 13


def test_the_services_own_status_wins_over_flags() -> None:
    """A service that answered is believed, whatever the mesh made of the connection afterwards."""
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
def test_without_status_and_flags_the_channel_speaks(
    code: grpc.StatusCode, details: str, kind: type[GraphmeshError]
) -> None:
    """gRPC's own codes, where nobody of ours answered. Only a failure to connect is known not to have sent the call."""
    assert type(from_rpc_error(received(code, details), "billing.Charge")) is kind
