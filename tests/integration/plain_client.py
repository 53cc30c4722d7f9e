"""Helpers of the suites that call a service as a plain gRPC client does, through pytest-grpc's `grpc_stub`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias
from uuid import uuid4

import grpc
import pytest
from google.rpc import error_details_pb2
from graphmesh_chassis.errors import GraphmeshError
from grpc_status import rpc_status

TIMEOUT: Final = 5
"""Seconds for each call."""

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


def key(value: str = "") -> Metadata:
    """Metadata with an idempotency key; a new one by default."""
    return (("idempotency-key", value or uuid4().hex),)


@contextmanager
def fails_with(kind: type[GraphmeshError]) -> Iterator[error_details_pb2.ErrorInfo]:
    """Require that the call in the body fails with the code and the reason of `kind`.

    Yields an ErrorInfo that is filled in from the details of the call's `google.rpc.Status` when the body has ended.
    """
    info = error_details_pb2.ErrorInfo()
    with pytest.raises(grpc.RpcError) as caught:
        yield info
    status = rpc_status.from_call(caught.value)
    assert any(detail.Unpack(info) for detail in status.details)
    assert (caught.value.code(), info.reason, info.domain) == (kind.code, kind.reason, "graphmesh")
