"""Contracts of `graphmesh.policy.v1`. Generated from protos; do not edit."""

from .policy_pb2 import Approval as Approval
from .policy_pb2 import Breaker as Breaker
from .policy_pb2 import CustomerCheck as CustomerCheck
from .policy_pb2 import FailureMode as FailureMode
from .policy_pb2 import JsonBounds as JsonBounds
from .policy_pb2 import LlmVisibility as LlmVisibility
from .policy_pb2 import MethodPolicy as MethodPolicy
from .policy_pb2 import Rate as Rate
from .policy_pb2 import RateLimit as RateLimit
from .policy_pb2 import ServicePolicy as ServicePolicy
from .policy_pb2 import json as json
from .policy_pb2 import method as method
from .policy_pb2 import service as service
