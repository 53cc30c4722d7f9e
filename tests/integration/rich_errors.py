"""Reads errors as any gRPC client can: from the `google.rpc.Status` in the trailing metadata, without the chassis."""

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status


@dataclass(frozen=True)
class RichError:
    """A status with its standard details."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    """The fields of a request that violate its contract."""


def error_of(call: Callable[[], object]) -> RichError:
    """Make a call that must fail, and return its error."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    status = rpc_status.from_call(caught.value)
    info, bad_request = ErrorInfo(), BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
    return RichError(
        code=caught.value.code(),
        message=status.message,
        reason=info.reason,
        metadata=dict(info.metadata),
        fields=[violation.field for violation in bad_request.field_violations],
    )
