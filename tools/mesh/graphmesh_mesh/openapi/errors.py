"""The errors of a method as responses of OpenAPI: its reasons by the HTTP status that the edge makes of their codes."""

import re
from collections.abc import Iterable
from functools import cache

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2
from graphmesh_contracts import Idempotency, MethodPolicy, Rpc, reasons, shared_reasons
from graphmesh_contracts.comments import REASON_ENUM, REASON_PACKAGE, comments

from graphmesh_mesh.envoy.documents import Document

HTTP = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
"""The HTTP status that the edge's transcoder makes of each gRPC code."""
OF_RUNS = "runs"
"""The key of the shared reasons that are in the `error` of a run, and not of a call."""
STATUS: Document = {
    "type": "object",
    "description": "An error: `google.rpc.Status`.",
    "properties": {
        "code": {"type": "integer", "description": "The code of gRPC.", "enum": sorted(code_pb2.Code.values())},
        "message": {"type": "string", "description": "For people. It may change."},
        "details": {
            "type": "array",
            "description": (
                "Among them a `google.rpc.ErrorInfo` with the reason; where fields of the request break rules a "
                "`google.rpc.BadRequest`, and where a repeat may succeed a `google.rpc.RetryInfo`."
            ),
            "items": {
                "type": "object",
                "properties": {
                    "@type": {"type": "string"},
                    "reason": {"type": "string"},
                    "domain": {"type": "string"},
                    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                    "retryDelay": {"type": "string"},
                    "fieldViolations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                        },
                    },
                },
                "required": ["@type"],
            },
        },
    },
    "required": ["code"],
}


def error_responses(method: MethodDescriptor, policy: MethodPolicy) -> dict[str, Document]:
    """Return a response for each HTTP status with the reasons that a method can have; `default` is any other error."""
    by_status: dict[int, list[str]] = {}
    for reason in sorted(reasons_of(method, policy)):
        if reason in codes():
            by_status.setdefault(HTTP[codes()[reason]], []).append(reason)
    described = {str(status): ", ".join(names) for status, names in sorted(by_status.items())}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/google.rpc.Status"}}}
    return {
        status: {"description": description, "content": content}
        for status, description in {**described, "default": "Another error."}.items()
    }


def reasons_of(method: MethodDescriptor, policy: MethodPolicy) -> Iterable[str]:
    """Return a method's own reasons, where its comment lists them, and those that it shares."""
    shared = {key: names for key, names in shared_reasons().items() if key != OF_RUNS}
    if policy.idempotency is not Idempotency.EFFECT:
        shared.pop("effects", None)
    path = f"/{method.containing_service.full_name}/{method.name}"
    handle = Rpc(path, GetMessageClass(method.input_type), GetMessageClass(method.output_type))
    try:
        own = reasons(handle)
    except ValueError:  # a contract of another team, which lists none
        own = frozenset()
    return own.union(*shared.values())


@cache
def codes() -> dict[str, str]:
    """Return the gRPC code of each reason, with which its comment begins."""
    prefix = f"{REASON_ENUM}.ERROR_REASON_"
    found = {}
    for name, text in comments(REASON_PACKAGE).items():
        if name.startswith(prefix) and (code := re.match(r"([A-Z_]+)\.", text)) and code[1] in HTTP:
            found[name.removeprefix(prefix)] = code[1]
    return found
