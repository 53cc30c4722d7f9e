"""Contracts of `graphmesh.common.v1`. Generated from protos; do not edit."""

from .money_pb2 import Money as Money
from .error_reason_pb2 import ErrorReason as ErrorReason
