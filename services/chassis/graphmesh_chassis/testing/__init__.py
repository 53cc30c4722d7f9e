"""The test kit: real servers with every hook, on free ports.

Asynchronous tests serve a composition root in their own event loop:

    async with build(settings) as servable, running(servable, settings) as served:
        await served.channel.unary(BillingService.GetInvoice, request, deadline=Deadline.after(5))

Synchronous tests use the fixtures of pytest-grpc (the extra `graphmesh-chassis[testing]` installs it). Installed beside
it, this package is a pytest plug-in under which `grpc_stub` calls a running server as any gRPC client does:

    @pytest.fixture(scope="module")
    def grpc_settings(tmp_path_factory):
        path = tmp_path_factory.mktemp("billing") / "billing.db"
        return Settings(database_url=SecretUrl(f"sqlite+aiosqlite:///{path}"))

    @pytest.fixture(scope="module")
    def grpc_servable(grpc_settings):
        return build(grpc_settings)

    @pytest.fixture(scope="module")
    def grpc_stub_cls():
        return BillingServiceStub

    def test_returns_an_invoice(grpc_stub):
        assert grpc_stub.GetInvoice(GetInvoiceRequest(invoice_id="in_1"), timeout=5).invoice.customer_id == "cu_1"

`fixtures` describes each one. Nothing is served for tests that request none of them. This module imports no grpc, since
pytest loads it at the start of every test run.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphmesh_chassis.channel import Channel
    from graphmesh_chassis.running import Running
    from graphmesh_chassis.serve import Servable
    from graphmesh_chassis.settings import ServerSettings


@dataclass(frozen=True)
class Served:
    """A server under test and a channel to it."""

    running: "Running"
    channel: "Channel"

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.running.address


@asynccontextmanager
async def running(servable: "Servable", settings: "ServerSettings | None" = None) -> AsyncIterator[Served]:
    """Serve `servable` with every hook while the body runs. Responses are validated."""
    from graphmesh_chassis.channel import Channel
    from graphmesh_chassis.serve import serving
    from graphmesh_chassis.settings import ServerSettings

    settings = (settings or ServerSettings()).model_copy(update={"validate_responses": True})
    async with (
        serving("test", servable, settings) as server,
        Channel(server.address) as channel,
    ):
        yield Served(server, channel)
