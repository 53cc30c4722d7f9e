"""Envoy's own replies: with the status and the details of the services' errors, in gRPC, gRPC-Web and JSON."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.rpc import code_pb2, error_details_pb2, status_pb2

from graphmesh_mesh.envoy.documents import CALLER_HEADERS, RESPONSE_FLAGS_HEADER, TENANT_HEADER, Document, headers
from graphmesh_mesh.topology import Mesh

DOMAIN = "graphmesh"
LOCAL_REPLY_BODY = "%LOCAL_REPLY_BODY%"
CUT_OFF = ("UC", "UR", "LR")
"""The flags of a 503 after which the call may have happened."""
FLAGS = headers({RESPONSE_FLAGS_HEADER: "%RESPONSE_FLAGS%"})


@dataclass(frozen=True)
class Reply:
    """A reply of Envoy itself, by its HTTP status and, where that has several meanings, by response flags."""

    http: int
    code: int
    """The google.rpc.Code."""
    reason: str
    """The graphmesh.common.v1.ErrorReason."""
    message: str = ""
    """Of gRPC, whose details are constant; empty: Lua makes the details. JSON has Envoy's own text."""
    flags: tuple[str, ...] = ()
    """It has one of these response flags."""
    filters: tuple[Document, ...] = ()
    """What else the requests in gRPC have that get it."""

    @property
    def grpc_code(self) -> int:
        """As gRPC has it for an unknown path."""
        return code_pb2.UNIMPLEMENTED if self.http == 404 else self.code


def _with_header(name: str, **matcher: object) -> Document:
    return {"header_filter": {"header": {"name": name, **matcher}}}


_KNOWN_TYPE = _with_header("content-type", string_match={"safe_regex": {"regex": r"application/grpc(\+proto)?"}})
REPLIES = (
    Reply(400, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", "the request is not valid HTTP"),
    Reply(401, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED"),
    Reply(403, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED"),  # a token of another audience
    Reply(404, code_pb2.NOT_FOUND, "UNKNOWN_METHOD", "the mesh has no such method"),
    Reply(405, code_pb2.INVALID_ARGUMENT, "INVALID_METADATA", "a call of a gRPC method is a POST request"),
    Reply(408, code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "the request was not complete in time"),
    Reply(413, code_pb2.INVALID_ARGUMENT, "MESSAGE_TOO_LARGE", "the request has more than {body_bytes} bytes"),
    Reply(
        *(415, code_pb2.INVALID_ARGUMENT, "INVALID_METADATA"),
        "the compressions of a message are identity, gzip and deflate",
        filters=(_KNOWN_TYPE,),
    ),
    Reply(
        *(415, code_pb2.INVALID_ARGUMENT, "INVALID_METADATA"),
        "the content type of a gRPC method is application/grpc",
    ),
    Reply(426, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", "the protocol is HTTP/1.1 or HTTP/2"),
    Reply(429, code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED", "the rate limit of the tenant or the service is exceeded"),
    Reply(431, code_pb2.INVALID_ARGUMENT, "INVALID_METADATA", "the request has too many or too large headers"),
    Reply(500, code_pb2.INTERNAL, "INTERNAL", "the mesh failed"),
    Reply(501, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", "the transfer coding is not supported"),
    Reply(502, code_pb2.UNAVAILABLE, "CONNECTION_LOST", "the service broke the protocol; the call may have happened"),
    Reply(
        503,
        code_pb2.UNAVAILABLE,
        "CONNECTION_LOST",
        "the connection broke; the call may have happened",
        flags=CUT_OFF,
    ),
    Reply(503, code_pb2.UNAVAILABLE, "CIRCUIT_OPEN", "no replica of the service is healthy", flags=("UH",)),
    Reply(503, code_pb2.UNAVAILABLE, "CONCURRENCY_LIMIT", "too many calls are waiting for the service", flags=("UO",)),
    Reply(503, code_pb2.UNAVAILABLE, "UNREACHABLE", "the service cannot be reached; the call was not sent"),
    Reply(504, code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "the deadline of the call has passed"),
)
"""Of those of one status the first that applies is sent."""
WORKLOAD_NOT_ALLOWED = Reply(
    403, code_pb2.PERMISSION_DENIED, "WORKLOAD_NOT_ALLOWED", "the workload may not call this method of the mesh"
)
"""Of the mesh listener."""
CORRECTED = (400, 403, 405, 413, 415)
"""The HTTP statuses of a caller's fault for which Envoy's own table has another gRPC status."""
FLAGGED = (502, 503, 504)
"""The HTTP statuses for which the response flags state whether a call was sent."""
IS_GRPC = _with_header("content-type", string_match={"safe_regex": {"regex": r"application/grpc([+-].*)?"}})
IS_JSON_REQUEST: Document = {
    "or_filter": {
        "filters": [
            _with_header("x-envoy-original-path", present_match=True),
            _with_header(
                "content-type",
                string_match={"prefix": "application/grpc"},
                invert_match=True,
                treat_missing_header_as_empty=True,
            ),
        ]
    }
}
"""Matches requests that were transcoded, which sets the original path, and requests that are not gRPC."""


def mesh_replies(*, denies_workloads: bool) -> Document:
    """The replies to the orchestrator and the services, which read the response flags."""
    denials = list(_grpc_replies(WORKLOAD_NOT_ALLOWED, 0)) if denies_workloads else []
    corrected = {one.http: one for one in REPLIES if one.http in CORRECTED}.values()
    statuses = [
        _mapper([_status_is(one.http), IS_GRPC], headers_to_add=headers({"grpc-status": str(one.code)}))
        for one in corrected
    ]
    return {"mappers": [*denials, *statuses, _response_flags()]}


def client_replies(mesh: Mesh, body_bytes: int) -> Document:
    """The replies to clients. `body_bytes` is the limit of a request's body."""
    advice = mesh.identity.advice if mesh.identity else ""
    of_json = [_json_reply(one, advice) for one in _known(REPLIES)]
    missing = _missing_identity() if mesh.edge.identity == "forwarded" else ()
    of_grpc = [mapper for one in (*missing, *REPLIES) for mapper in _grpc_replies(one, body_bytes)]
    return {"mappers": [*of_json, *of_grpc, _response_flags()]}


def grpc_codes() -> str:
    """Return the table CODES of bad_requests.lua: the gRPC status of each HTTP status."""
    codes = {one.http: one.grpc_code for one in REPLIES if one.message}
    entries = ", ".join(f'["{http}"] = "{code}"' for http, code in codes.items())
    return f"local CODES = {{{entries}}}"


def _known(replies: Sequence[Reply]) -> Iterator[Reply]:
    """Yield one reply for each status and flag: the others differ in the message of gRPC only."""
    yield from {(one.http, one.flags): one for one in replies}.values()


def _missing_identity() -> Iterator[Reply]:
    """Yield the refusals of calls without a header of the authenticating proxy."""
    for name in (TENANT_HEADER, *CALLER_HEADERS):
        absent = _with_header(name, present_match=True, invert_match=True)
        message = f"the header {name} is missing"
        yield Reply(401, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED", message, filters=(absent,))


def _json_reply(one: Reply, advice: str) -> Document:
    """Return the mapper of a reply. `advice` ends the message to a caller without a valid token."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": one.reason, "domain": DOMAIN}
    is_advised = advice and one.code == code_pb2.UNAUTHENTICATED
    message = f"{LOCAL_REPLY_BODY}: {advice}" if is_advised else LOCAL_REPLY_BODY
    return _mapper(
        [IS_JSON_REQUEST, _status_is(one.http), *_flag_filter(one)],
        body_format_override={"json_format": {"code": one.code, "message": message, "details": [info]}},
        **({"status_code": 401} if one.http == 403 else {}),
        **({"headers_to_add": FLAGS} if one.http == 503 else {}),
    )


def _grpc_replies(one: Reply, body_bytes: int) -> Iterator[Document]:
    """Yield the mappers of a reply: with response flags, where it has some, and without."""
    requests = [_status_is(one.http), IS_GRPC, *_flag_filter(one), *one.filters]
    added = headers({"grpc-status": str(one.grpc_code)})
    if not one.message:
        if one.http in CORRECTED:
            yield _mapper(requests, headers_to_add=added)
        return
    message = one.message.format(body_bytes=body_bytes)
    status = status_pb2.Status(code=one.grpc_code, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=one.reason, domain=DOMAIN))
    encoded = b64encode(status.SerializeToString(deterministic=True)).decode().rstrip("=")
    added += headers({"grpc-status-details-bin": encoded})
    text = {"text_format_source": {"inline_string": message}}
    if one.http in FLAGGED:
        flagged = [*requests, {"response_flag_filter": {}}]
        yield _mapper(flagged, headers_to_add=[*added, *FLAGS], body_format_override=text)
    yield _mapper(requests, headers_to_add=added, body_format_override=text)


def _response_flags() -> Document:
    """Add the response flags to Envoy's own replies, and only to those."""
    return {"filter": {"response_flag_filter": {}}, "headers_to_add": FLAGS}


def _mapper(filters: Sequence[Document], **changes: object) -> Document:
    return {"filter": {"and_filter": {"filters": list(filters)}}, **changes}


def _flag_filter(one: Reply) -> list[Document]:
    return [{"response_flag_filter": {"flags": list(one.flags)}}] if one.flags else []


def _status_is(http: int) -> Document:
    value = {"default_value": http, "runtime_key": "unused"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}
