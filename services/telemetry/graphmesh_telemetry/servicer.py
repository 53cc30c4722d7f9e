"""TelemetryService: decode, use case, encode."""

from typing import Any

from graphmesh.telemetry import v1 as pb
from graphmesh_chassis.calls import current_call
from graphmesh_chassis.errors import NotFound

from graphmesh_telemetry.convert import message
from graphmesh_telemetry.domain import MAX_TRACE, of_tenant
from graphmesh_telemetry.spans import Spans


class TelemetryServicer(pb.TelemetryServiceServicer):
    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    async def GetTrace(self, request: pb.GetTraceRequest, context: Any) -> pb.GetTraceResponse:
        tenant = current_call().caller.tenant
        found = await self._spans.of_run(tenant, request.run, MAX_TRACE + 1)
        if not found:
            raise NotFound(resource="trace", id=request.run)
        shown = of_tenant(found[:MAX_TRACE], tenant)
        return pb.GetTraceResponse(spans=map(message, shown), truncated=len(found) > MAX_TRACE)
