"""A worker that cannot reach its database makes no effect after another worker may have claimed its runs."""

import asyncio
from pathlib import Path

import sqlalchemy as sa
from graphmesh.orchestrator import v1 as pb
from graphmesh_chaos.tcp_proxy import tcp_proxy

from tests.integration.orchestrator.mesh import serve_billing, serve_orchestrator
from tests.integration.orchestrator.overtaken_graph import FIRST_EXECUTIONS, FirstExecution


async def test_overtaken_worker_makes_no_effect(postgres_url: str, tmp_path: Path) -> None:
    """Another worker ends the run; then the first one continues, whose epoch no service knows to be an old one."""
    direct = sa.make_url(postgres_url)
    (tmp_path / "overtaken.py").write_text("from tests.integration.orchestrator.overtaken_graph import graph\n")
    async with (
        tcp_proxy(direct.host or "", direct.port or 5432) as proxy,
        serve_billing(tmp_path) as billing,
        serve_orchestrator(tmp_path, billing, database_url=proxied(direct, proxy.port)) as overtaken,
    ):
        invoice = await overtaken.create_invoice()
        first = FIRST_EXECUTIONS[invoice] = FirstExecution()
        run = await overtaken.create("overtaken", {"invoice_id": invoice})
        async with asyncio.timeout(60):
            await first.waits.wait()
            proxy.partition()
            async with serve_orchestrator(tmp_path, billing, database_url=postgres_url) as other:
                ended = await other.wait(run)
                first.may_continue.set()
                await first.has_ended.wait()
        assert ended.status == pb.RunStatus.RUN_STATUS_SUCCESS
        assert isinstance(first.error, asyncio.CancelledError)
        assert await overtaken.count_charges(invoice) == 0
        proxy.heal()


def proxied(url: sa.URL, port: int) -> str:
    """The URL with the port of a proxy of the loopback interface."""
    return url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
