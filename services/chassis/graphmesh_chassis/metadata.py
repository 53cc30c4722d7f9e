"""The metadata headers of the mesh, each named once."""

from collections.abc import Iterable, Mapping

PREFIX = "x-graphmesh-"
"""The beginning of the names of our headers."""
IDEMPOTENCY_KEY = "idempotency-key"
"""The effect key of a call (the name of the IETF httpapi draft)."""
TENANT = "x-graphmesh-tenant"
"""The tenant whose data the call reads or changes."""
SUBJECT = "x-graphmesh-subject"
"""The identity of the caller."""
CLIENT = "x-graphmesh-client"
"""The program that the caller's token was issued to; a client of the tenant. The edge alone sets it."""
ROLES = "x-graphmesh-roles"
"""The caller's roles, separated by spaces."""
SCOPES = "x-graphmesh-scopes"
"""The caller's permissions, separated by spaces."""
CUSTOMER = "x-graphmesh-customer"
"""The customer that the call is bound to: no record of another one is read or changed."""
RUN = "x-graphmesh-run"
"""The id of the run that makes the call."""
THREAD = "x-graphmesh-thread"
"""The id of that run's thread."""
NODE = "x-graphmesh-node"
"""The name of the graph's node that makes the call."""
EPOCH = "x-graphmesh-epoch"
"""The epoch of the run's lease under which the call is made: it grows with each takeover."""
LEASE = "x-graphmesh-lease"
"""Milliseconds, from when the call is sent, for which the run's lease holds at least. No effect is made after them."""
RUN_LIMITS = "x-graphmesh-run-limits"
"""The most that the run of the call may use of models: `cost=50000,tokens=20000`, in millionths of a US dollar."""
APPROVAL = "x-graphmesh-approval"
"""The id of the approval that an approver gave to this call."""
APPROVAL_DIGEST = "x-graphmesh-approval-digest"
"""The digest of the request that the approver has approved."""
CALL_TOKEN = "x-graphmesh-call-token"
"""What the headers of a call state, signed by the orchestrator. A service with `call_keys` uses the token only."""
CLIENT_TRACE = "x-graphmesh-client-trace"
"""The `traceparent` that the client has sent, which the edge copies before it begins a span of its own."""
RUN_SPAN = "x-graphmesh-run-span"
"""The id of the span that a new run has, 16 hexadecimal digits: of a client that exports no spans, so that the run is
the root of the trace in its `traceparent`."""
EDGE_START = "x-graphmesh-edge-start"
"""When the edge has received the call, in seconds since 1970 with a fraction."""
REPLAYED = "idempotency-replayed"
"""In the trailers of an effect: `true` where the response is the stored one of an earlier call with the same key."""
RESPONSE_FLAGS = "x-envoy-response-flags"
"""Envoy's reasons for a response that it made itself; empty where the service responded."""
RATE_LIMIT_RESET = "x-ratelimit-reset"
"""Seconds until Envoy's rate limit lets calls through again."""
RETRY_AFTER = "retry-after"
"""Whole seconds until a refused call may succeed, as HTTP has them."""
RATE_LIMIT_POLICY = "ratelimit-policy"
"""The rate that refuses a call, its quota and its window in seconds: `"tenant";q=100;w=60`."""
RATE_LIMIT = "ratelimit"
"""Of that rate, the calls that remain, and the seconds until the next one: `"tenant";r=0;t=7`."""
STATUS_DETAILS = "grpc-status-details-bin"
"""The serialized `google.rpc.Status` of an error."""

CLAIMS: Mapping[str, str] = {
    TENANT: "tenant",
    SUBJECT: "sub",
    CLIENT: "client",
    SCOPES: "scope",
    CUSTOMER: "customer",
    RUN: "run",
    THREAD: "thread",
    NODE: "node",
    EPOCH: "epoch",
    RUN_LIMITS: "limits",
    APPROVAL: "approval",
    APPROVAL_DIGEST: "digest",
    IDEMPOTENCY_KEY: "key",
}
"""The claims of the token of a call, by the headers that they replace. The key of an effect is
among them, so that a stolen token can repeat that effect only."""

Metadata = Mapping[str, str | bytes]


def as_mapping(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str | bytes]:
    """The headers by name. Of a repeated header the last one counts."""
    return dict(metadata or ())


def unsigned(metadata: Metadata) -> dict[str, str | bytes]:
    """The headers that may stand beside the token of a call: of ours only the lease, which each attempt states anew."""
    return {name: value for name, value in metadata.items() if name not in CLAIMS and _is_foreign(name)}


def _is_foreign(name: str) -> bool:
    return not name.startswith(PREFIX) or name == LEASE


def text(metadata: Metadata, name: str) -> str:
    """The text of a header; empty where it is absent or binary."""
    value = metadata.get(name, "")
    return value if isinstance(value, str) else ""
