"""Errors for Envoy's own failures. The cases were recorded with Envoy 1.40 in front of real servers."""

from typing import Any

import grpc
import pytest
from graphmesh_chassis.errors import (
    CircuitOpen,
    ConcurrencyLimit,
    ConnectionLost,
    DeadlineExceeded,
    GraphmeshError,
    RateLimited,
    UnknownMethod,
    Unreachable,
)
from graphmesh_chassis.status import from_rpc_error, to_status

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("flags", "code", "details", "kind", "may_have_happened"),
    [
        ("UH", Code.UNAVAILABLE, "no healthy upstream", CircuitOpen, False),
        ("UO", Code.UNAVAILABLE, "reset reason: overflow", ConcurrencyLimit, False),
        ("UF", Code.UNAVAILABLE, "reset reason: remote connection failure", Unreachable, False),
        ("URX,UF", Code.UNAVAILABLE, "retried and the latest reset reason: …", Unreachable, False),
        ("UO,UF", Code.UNAVAILABLE, "reset reason: remote connection failure", Unreachable, False),
        ("UC", Code.UNAVAILABLE, "reset reason: connection termination", ConnectionLost, True),
        ("UC,URX", Code.UNAVAILABLE, "reset reason: connection termination", ConnectionLost, True),
        ("RL", Code.RESOURCE_EXHAUSTED, "local_rate_limited", RateLimited, False),
        ("", Code.UNAVAILABLE, "Cancelling all calls", ConnectionLost, True),
        ("", Code.UNAVAILABLE, "failed to connect to all addresses", Unreachable, False),
        ("", Code.UNAVAILABLE, "errors resolving nowhere:1: [… Domain name not found]", Unreachable, False),
        ("", Code.INTERNAL, "Stream removed (RST_STREAM (…))", ConnectionLost, True),
        ("", Code.DEADLINE_EXCEEDED, "downstream duration timeout", DeadlineExceeded, True),
        ("", Code.UNIMPLEMENTED, "the mesh has no such method", UnknownMethod, False),
    ],
)
def test_failure_in_the_mesh_reports_whether_the_call_was_sent(
    flags: str, code: grpc.StatusCode, details: str, kind: type[GraphmeshError], may_have_happened: bool
) -> None:
    """Only a call that certainly did not reach a service counts as not begun."""
    error = from_rpc_error(failure(code, details, **({"x-envoy-response-flags": flags} if flags else {})), "billing")
    assert type(error) is kind
    assert error.may_have_happened is may_have_happened


def test_reset_time_of_a_rate_limit_becomes_retry_after() -> None:
    """Also where Envoy's reply has details, which know no time."""
    details = to_status(RateLimited()).SerializeToString()
    headers: dict[str, Any] = {"x-envoy-response-flags": "RL", "x-ratelimit-reset": "7"}
    headers["grpc-status-details-bin"] = details
    assert from_rpc_error(failure(Code.RESOURCE_EXHAUSTED, "local_rate_limited", **headers), "sql").retry_after == 7


def failure(code: grpc.StatusCode, details: str, **trailing: Any) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing.items()), details)
