"""The errors that a program catches by name."""

import re

import graphmesh_client
import pytest
from google.rpc import error_details_pb2, status_pb2
from graphmesh.common.v1 import ErrorReason
from graphmesh.orchestrator.v1 import Run, RunStatus
from graphmesh_chassis import errors
from graphmesh_chassis.errors import GraphmeshError, NotFound
from graphmesh_chassis.status import DOMAIN, from_status, to_status
from graphmesh_client import RunFailed, output_of
from graphmesh_contracts import comments
from grpc import StatusCode

NAMES = {
    "ABORTED": "Aborted",
    "ALREADY_EXISTS": "AlreadyExists",
    "CANCELLED": "Cancelled",
    "DEADLINE_EXCEEDED": "DeadlineExceeded",
    "FAILED_PRECONDITION": "FailedPrecondition",
    "INTERNAL": "Defect",
    "INVALID_ARGUMENT": "InvalidInput",
    "NOT_FOUND": "NotFound",
    "PERMISSION_DENIED": "PermissionDenied",
    "RESOURCE_EXHAUSTED": "ResourceExhausted",
    "UNAUTHENTICATED": "Unauthenticated",
    "UNAVAILABLE": "Unavailable",
    "UNIMPLEMENTED": "Unimplemented",
}
REASONS = [name for name in dict(ErrorReason.items()) if not name.endswith("_UNSPECIFIED")]


@pytest.fixture
def client_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has imported no errors but those of the client."""
    of_the_client = {kind.reason: kind for kind in vars(errors).values() if getattr(kind, "reason", "")}
    monkeypatch.setattr(GraphmeshError, "by_reason", of_the_client)


@pytest.mark.usefixtures("client_process")
@pytest.mark.parametrize("name", REASONS)
def test_every_reason_is_caught_by_the_name_of_its_status(name: str) -> None:
    """The comment of a reason begins with its gRPC status."""
    comment = comments("graphmesh.common.v1")[f"graphmesh.common.v1.ErrorReason.{name}"]
    [code] = re.findall(r"\A([A-Z_]+)[.,]", comment)
    reason = name.removeprefix("ERROR_REASON_")
    status = status_pb2.Status(code=StatusCode[code].value[0], message="it failed")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata={"tool": "a.B"}))
    error = from_status(status)
    assert isinstance(error, getattr(graphmesh_client, NAMES[code]))
    assert (error.reason, error.code, error.data, error.message) == (
        reason,
        StatusCode[code],
        {"tool": "a.B"},
        "it failed",
    )


def test_every_exported_error_is_a_graphmesh_error() -> None:
    exported = {name for name in graphmesh_client.__all__ if isinstance(getattr(graphmesh_client, name), type)}
    errors = {name for name in exported if issubclass(getattr(graphmesh_client, name), GraphmeshError)}
    assert errors == {*NAMES.values(), "GraphmeshError", "RateLimited", "RunFailed"}


def test_a_failed_run_raises_its_error() -> None:
    error = to_status(NotFound(resource="invoice", id="in_1"))
    run = Run(run_id="run_1", status=RunStatus.RUN_STATUS_ERROR, error=error)
    with pytest.raises(RunFailed, match="There is no invoice in_1") as failed:
        output_of(run)
    assert isinstance(failed.value.cause, NotFound)
    assert (failed.value.reason, failed.value.data["id"], failed.value.run) == ("RESOURCE_NOT_FOUND", "in_1", run)
    assert failed.value.code is StatusCode.NOT_FOUND


def test_output_of_a_run_that_succeeded() -> None:
    run = Run(status=RunStatus.RUN_STATUS_SUCCESS)
    run.output.update({"answer": "42", "count": 2})
    assert output_of(run) == {"answer": "42", "count": 2}


@pytest.mark.parametrize(
    "status", [RunStatus.RUN_STATUS_PENDING, RunStatus.RUN_STATUS_RUNNING, RunStatus.RUN_STATUS_INTERRUPTED]
)
def test_a_run_that_has_not_ended_has_no_output(status: RunStatus.ValueType) -> None:
    with pytest.raises(ValueError, match="run_1 has no output yet"):
        output_of(Run(run_id="run_1", status=status))
