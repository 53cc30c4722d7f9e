"""The contracts as values: RPC handles, the policies that their protos declare, and the reasons that they list."""

from graphmesh_contracts.comments import comments, reasons, shared_reasons
from graphmesh_contracts.keys import APPROVAL_KEY, WRITE_BEHIND_KEY
from graphmesh_contracts.policy import (
    Breaker,
    Idempotency,
    MethodPolicy,
    Overrides,
    PolicyError,
    RateLimit,
    ServicePolicy,
    declared_timeout,
    field_path,
    method_policy,
    service_policies,
)
from graphmesh_contracts.rpc import Method, Rpc, StreamingRpc
from graphmesh_contracts.structs import NotJsonError, struct_value, to_struct, to_value, value_of

__all__ = [
    "APPROVAL_KEY",
    "WRITE_BEHIND_KEY",
    "Breaker",
    "Idempotency",
    "Method",
    "MethodPolicy",
    "NotJsonError",
    "Overrides",
    "PolicyError",
    "RateLimit",
    "Rpc",
    "ServicePolicy",
    "StreamingRpc",
    "comments",
    "declared_timeout",
    "field_path",
    "method_policy",
    "reasons",
    "service_policies",
    "shared_reasons",
    "struct_value",
    "to_struct",
    "to_value",
    "value_of",
]
