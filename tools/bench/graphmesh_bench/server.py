"""The server of the benchmarks: one RPC that responds at once, served on the chassis, with tracing, and by grpc.aio.

python -m graphmesh_bench.server LOG_LEVEL CHASSIS_ADDRESS [BARE_ADDRESS TRACED_ADDRESS SAMPLING SIGNED_ADDRESS KEYS
    SECURED_ADDRESS CERTIFICATES]
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from graphmesh.billing import v1 as pb
from graphmesh.common.v1 import Money
from graphmesh.crm.v1 import CrmService
from graphmesh_chassis.channel import SERVER_OPTIONS
from graphmesh_chassis.logs import configure_logs
from graphmesh_chassis.serve import Servable, Service, loop_factory, serving
from graphmesh_chassis.settings import ServerSettings
from graphmesh_contracts import Rpc
from graphmesh_mesh.mutual_tls import AUTHORITIES, certificate_file
from grpc_health.v1 import health, health_pb2_grpc

CHASSIS = pb.BillingService.GetInvoice
BARE = Rpc(f"/{CrmService.NAME}/GetCustomer", CHASSIS.request, CHASSIS.response)
"""Served by grpc.aio alone. It has the path of another service, so that one Envoy routes to both servers."""

WORKLOAD = "billing"
"""The identity of the server, where it has mutual TLS."""
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


SETTINGS = "GRAPHMESH_BENCH_SETTINGS"
"""The environment variable with further settings of the server on the chassis, as JSON."""


class ConstantServicer:
    """Responds at once, always with the same message."""

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Any) -> pb.GetInvoiceResponse:
        return RESPONSE


async def _collect(spans: bytes, context: Any) -> bytes:
    """Drop the spans; an empty response is a success."""
    return b""


def _add_servicer(rpc: Rpc[Any, Any], server: grpc.aio.Server) -> None:
    """Serve `ConstantServicer` under the path of `rpc`."""
    behaviour, decode, encode = ConstantServicer().GetInvoice, rpc.request.FromString, rpc.response.SerializeToString
    handler: Any = grpc.unary_unary_rpc_method_handler(behaviour, decode, encode)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.service, {rpc.method: handler}),))


@asynccontextmanager
async def _serving_bare(address: str) -> AsyncIterator[None]:
    """Serve by grpc.aio alone, with the collector of spans beside."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    collector: Any = grpc.unary_unary_rpc_method_handler(_collect)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(COLLECTOR, {"Export": collector}),))
    _add_servicer(BARE, server)
    servicer = health.aio.HealthServicer()
    await servicer.set(BARE.service, 1)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def main(log_level: str, chassis: str, *further: str) -> None:
    """Serve until cancelled; `further`: the address served by grpc.aio, the traced address, the sampling share, the
    address where calls need tokens, the file with their public keys, the address that has mutual TLS as well, and the
    folder of certificates."""
    configure_logs("bench", log_level)
    servable = Servable([Service(pb.BillingService, _add_servicer, CHASSIS)])
    async with AsyncExitStack() as stack:
        if further:
            bare, traced, ratio, signed, call_keys, secured, folder = further
            collector = f"http://{bare}"
            sampled = ServerSettings(listen=traced, traces="otlp", otlp_endpoint=collector, trace_ratio=float(ratio))
            await stack.enter_async_context(_serving_bare(bare))
            await stack.enter_async_context(serving("bench", servable, sampled))
            tokens = ServerSettings(listen=signed, call_keys=Path(call_keys))
            await stack.enter_async_context(serving("bench", servable, tokens))
            own, trusted = Path(folder, certificate_file(WORKLOAD)), Path(folder, AUTHORITIES)
            tls = tokens.model_copy(update={"listen": secured, "certificate": own, "authorities": trusted})
            await stack.enter_async_context(serving("bench", servable, tls))
        settings = ServerSettings(listen=chassis, **json.loads(os.environ.get(SETTINGS, "{}")))
        await stack.enter_async_context(serving("bench", servable, settings))
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory(ServerSettings())) as runner:
        runner.run(main(*sys.argv[1:]))
