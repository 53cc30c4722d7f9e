"""Contracts of `graphmesh.telemetry.v1`. Generated from protos; do not edit."""

from typing import Final

from graphmesh_contracts import Rpc

from .telemetry_pb2 import GetTraceRequest as GetTraceRequest
from .telemetry_pb2 import GetTraceResponse as GetTraceResponse
from .telemetry_pb2 import Span as Span
from .telemetry_pb2_grpc import TelemetryServiceServicer as TelemetryServiceServicer
from .telemetry_pb2_grpc import add_TelemetryServiceServicer_to_server as add_TelemetryServiceServicer_to_server


class TelemetryService:
    """The RPCs of `graphmesh.telemetry.v1.TelemetryService`."""

    NAME: Final = "graphmesh.telemetry.v1.TelemetryService"
    GetTrace: Final = Rpc(
        "/graphmesh.telemetry.v1.TelemetryService/GetTrace", GetTraceRequest, GetTraceResponse
    )
