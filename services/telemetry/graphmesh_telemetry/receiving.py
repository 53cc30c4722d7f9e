"""Receives spans by OTLP, and stores them in batches, apart from the calls that bring them."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import structlog
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import MAX_MESSAGE_BYTES
from graphmesh_chassis.errors import DatabaseUnavailable
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from graphmesh_telemetry.domain import Span
from graphmesh_telemetry.otlp import spans_of
from graphmesh_telemetry.spans import Spans

KEY = "x-graphmesh-telemetry-key"
"""The header with the key of exports."""
MAX_WAITING = 50_000
"""Spans that are received and not stored yet; above, exports are refused."""
BATCH = 2_000
PRUNE_SECONDS = 60.0
RETRY_SECONDS = 1.0
OPTIONS = (("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0))
MAX_CALLS = 64
"""Exports at a time; further ones wait in gRPC's library, and end at their deadlines."""

log = structlog.get_logger("graphmesh.telemetry")


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """The standard service for traces."""

    def __init__(self, spans: Spans, key: str, keep: timedelta, max_spans: int) -> None:
        self._spans, self._key, self._keep, self._max_spans = spans, key, keep, max_spans
        self._waiting: list[Span] = []
        self._arrived = asyncio.Event()
        self.dropped = 0
        """Spans that were refused, or could not be stored."""

    async def Export(
        self, request: ExportTraceServiceRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ExportTraceServiceResponse:
        stated = metadata.text(metadata.as_mapping(context.invocation_metadata()), KEY)
        if not hmac.compare_digest(stated.encode(), self._key.encode()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{KEY}: is not the key of this receiver")
        found = await asyncio.to_thread(lambda: list(spans_of(request)))
        room = MAX_WAITING - len(self._waiting)
        if room <= 0:
            self.dropped += len(found)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many spans wait to be stored")
        self._waiting += found[:room]
        self.dropped += max(0, len(found) - room)
        self._arrived.set()
        return ExportTraceServiceResponse()

    async def store(self) -> None:
        """Store what arrives, and delete what is too old, as long as the server runs."""
        prune_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._waiting[:BATCH]
            try:
                if batch:
                    await self._spans.add(batch)
                if loop.time() >= prune_at:
                    await self._spans.prune(datetime.now(UTC) - self._keep, self._max_spans)
                    prune_at = loop.time() + PRUNE_SECONDS
            except DatabaseUnavailable as error:
                log.warning("spans are not stored yet", waiting=len(self._waiting), cause=str(error.__cause__)[:200])
                await asyncio.sleep(RETRY_SECONDS)
                continue
            del self._waiting[: len(batch)]
            if not self._waiting:
                self._arrived.clear()


@asynccontextmanager
async def receiving(receiver: Receiver, listen: str) -> AsyncIterator[str]:
    """Receive on an address while the body runs; yields the actual one. Raises OSError."""
    server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}") from error
    await server.start()
    try:
        yield f"{listen.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(None)
