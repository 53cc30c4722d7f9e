"""Helpers of the suites that call a service as a plain gRPC client does, through pytest-grpc's `grpc_stub`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import uuid4

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from graphmesh_chassis.errors import GraphmeshError

TIMEOUT: Final = 5
"""Seconds for each call."""

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


@dataclass
class RichError:
    """The `google.rpc.Status` of a failed call with its details, as any client can read them."""

    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    """The metadata of the ErrorInfo."""
    fields: list[str] = field(default_factory=list)
    """The fields that violate the contract, from the BadRequest."""


def key(value: str = "") -> Metadata:
    """Metadata with an idempotency key; a new one by default."""
    return (("idempotency-key", value or uuid4().hex),)


@contextmanager
def fails_with(kind: type[GraphmeshError]) -> Iterator[RichError]:
    """Require that the call in the body fails with the code and the reason of `kind`.

    Yields a RichError that is filled in when the body has ended.
    """
    error, info, bad_request = RichError(), ErrorInfo(), BadRequest()
    with pytest.raises(grpc.RpcError) as caught:
        yield error
    status = rpc_status.from_call(caught.value)
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
    assert (caught.value.code(), info.reason, info.domain) == (kind.code, kind.reason, "graphmesh")
    error.message = status.message
    error.metadata = dict(info.metadata)
    error.fields = [violation.field for violation in bad_request.field_violations]
