"""The contracts as values: RPC handles, the policies that their protos declare, and the reasons that they list."""

from graphmesh_contracts.breaking_changes import breaking_changes
from graphmesh_contracts.comments import comments, reasons, shared_reasons
from graphmesh_contracts.descriptor_sets import ContractError, DescriptorSet, read_descriptor_set
from graphmesh_contracts.keys import APPROVAL_KEY, WRITE_BEHIND_KEY
from graphmesh_contracts.money import EXPONENTS, Money, UnknownCurrency, exponent, format_money, parse_amount
from graphmesh_contracts.policy import (
    Breaker,
    CustomerCheck,
    Idempotency,
    MethodPolicy,
    Overrides,
    PolicyError,
    Rate,
    RateLimit,
    ServicePolicy,
    declared_timeout,
    field_path,
    method_policy,
    parse_rate,
    service_policies,
)
from graphmesh_contracts.rpc import Method, Rpc, StreamingRpc
from graphmesh_contracts.service_handles import service
from graphmesh_contracts.structs import NotJsonError, struct_value, to_struct, to_value, value_of

__all__ = [
    "APPROVAL_KEY",
    "EXPONENTS",
    "WRITE_BEHIND_KEY",
    "Breaker",
    "ContractError",
    "CustomerCheck",
    "DescriptorSet",
    "Idempotency",
    "Method",
    "MethodPolicy",
    "Money",
    "NotJsonError",
    "Overrides",
    "PolicyError",
    "Rate",
    "RateLimit",
    "Rpc",
    "ServicePolicy",
    "StreamingRpc",
    "UnknownCurrency",
    "breaking_changes",
    "comments",
    "declared_timeout",
    "exponent",
    "field_path",
    "format_money",
    "method_policy",
    "parse_amount",
    "parse_rate",
    "read_descriptor_set",
    "reasons",
    "service",
    "service_policies",
    "shared_reasons",
    "struct_value",
    "to_struct",
    "to_value",
    "value_of",
]
