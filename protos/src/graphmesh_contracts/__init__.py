"""The contracts as values: RPC handles, and the policies that their protos declare."""

from graphmesh_contracts.policy import (
    Breaker,
    Idempotency,
    MethodPolicy,
    Overrides,
    PolicyError,
    RateLimit,
    ServicePolicy,
    field_path,
    method_policy,
    service_policies,
)
from graphmesh_contracts.rpc import Rpc
from graphmesh_contracts.structs import struct_value, value_of

__all__ = [
    "Breaker",
    "Idempotency",
    "MethodPolicy",
    "Overrides",
    "PolicyError",
    "RateLimit",
    "Rpc",
    "ServicePolicy",
    "field_path",
    "method_policy",
    "service_policies",
    "struct_value",
    "value_of",
]
