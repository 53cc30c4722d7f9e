"""The metadata headers of the mesh, each named once."""

from collections.abc import Iterable, Mapping

IDEMPOTENCY_KEY = "idempotency-key"
"""The effect key of a call (the name is the IETF httpapi draft's)."""
TENANT = "x-graphmesh-tenant"
"""Whose data the call is about."""
SUBJECT = "x-graphmesh-subject"
"""Who makes the call."""
SCOPES = "x-graphmesh-scopes"
"""What the caller may do: scopes, separated by spaces."""
RUN = "x-graphmesh-run"
"""The run that the call belongs to."""
THREAD = "x-graphmesh-thread"
"""The thread of that run."""
NODE = "x-graphmesh-node"
"""The node of the graph that makes the call."""
EPOCH = "x-graphmesh-epoch"
"""The epoch of the worker that executes the run: it grows with each takeover."""
APPROVAL = "x-graphmesh-approval"
"""The approval of this call: a person has agreed to it."""
REPLAYED = "idempotency-replayed"
"""In the trailers of an effect: `true` where the response is the stored one of an earlier call with the same key."""
RESPONSE_FLAGS = "x-envoy-response-flags"
"""What Envoy says of how a response came about; empty where the service itself answered."""
RATE_LIMIT_RESET = "x-ratelimit-reset"
"""Seconds until Envoy's rate limit lets calls through again."""
STATUS_DETAILS = "grpc-status-details-bin"
"""The serialized `google.rpc.Status` of an error."""

Metadata = Mapping[str, str | bytes]


def as_mapping(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str | bytes]:
    """The headers by name; of a header given twice, the last."""
    return dict(metadata or ())


def text(metadata: Metadata, name: str) -> str:
    """The text of a header; empty where it is absent."""
    value = metadata.get(name, "")
    return value if isinstance(value, str) else ""
