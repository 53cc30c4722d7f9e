"""The server under measurement: one method that answers at once, served on the chassis, bare, and with tracing.

python -m graphmesh_bench.server LOG_LEVEL CHASSIS_ADDRESS [BARE_ADDRESS TRACED_ADDRESS SAMPLING]
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from graphmesh.billing import v1 as pb
from graphmesh.common.v1 import Money
from graphmesh.crm.v1 import CrmService
from graphmesh_chassis.channel import SERVER_OPTIONS
from graphmesh_chassis.logs import configure_logs
from graphmesh_chassis.serve import Servable, Service, serving
from graphmesh_chassis.settings import ServerSettings
from graphmesh_contracts import Rpc
from grpc_health.v1 import health, health_pb2_grpc

CHASSIS = pb.BillingService.GetInvoice
BARE = Rpc(f"/{CrmService.NAME}/GetCustomer", CHASSIS.request, CHASSIS.response)
"""Served by grpc.aio alone. The path is another service's, so that one Envoy routes to both servers."""

COLLECTOR = "opentelemetry.proto.collector.trace.v1.TraceService"

INVOICE_ID = "in_1"
EUR = Money(currency_code="EUR", amount_minor=1890)
RESPONSE = pb.GetInvoiceResponse(
    invoice=pb.Invoice(
        invoice_id=INVOICE_ID,
        customer_id="cu_1",
        lines=[pb.InvoiceLine(description="ink", quantity=1, unit_price=EUR)],
        total=EUR,
        outstanding=EUR,
        status=pb.InvoiceStatus.INVOICE_STATUS_OPEN,
    )
)


class Instant:
    """Answers at once."""

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Any) -> pb.GetInvoiceResponse:
        return RESPONSE


async def _collect(spans: bytes, context: Any) -> bytes:
    """A collector that throws away what it gets: an empty message says that all is well."""
    return b""


def _add(rpc: Rpc[Any, Any], server: grpc.aio.Server) -> None:
    """Serve `Instant` under the path of `rpc`."""
    behaviour, decode, encode = Instant().GetInvoice, rpc.request.FromString, rpc.response.SerializeToString
    handler: Any = grpc.unary_unary_rpc_method_handler(behaviour, decode, encode)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.service, {rpc.method: handler}),))


@asynccontextmanager
async def _bare(address: str) -> AsyncIterator[None]:
    """Served by grpc.aio alone, and the collector with it."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    collector: Any = grpc.unary_unary_rpc_method_handler(_collect)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(COLLECTOR, {"Export": collector}),))
    _add(BARE, server)
    servicer = health.aio.HealthServicer()
    await servicer.set(BARE.service, 1)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def main(log_level: str, chassis: str, *besides: str) -> None:
    """Serve on the chassis; `besides`: the addresses to serve at bare and traced, and the share of traced calls."""
    configure_logs("bench", log_level)
    servable = Servable([Service(pb.BillingService, _add, CHASSIS)])
    async with AsyncExitStack() as stack:
        if besides:
            bare, traced, ratio = besides
            collector = f"http://{bare}"
            sampled = ServerSettings(listen=traced, traces="otlp", otlp_endpoint=collector, trace_ratio=float(ratio))
            await stack.enter_async_context(_bare(bare))
            await stack.enter_async_context(serving("bench", servable, sampled))
        await stack.enter_async_context(serving("bench", servable, ServerSettings(listen=chassis)))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
