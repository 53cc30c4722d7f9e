"""Synchronous nodes: slow ones do not delay another tenant's, and they may run event loops of their own."""

import asyncio
import sys
from pathlib import Path

from graphmesh.orchestrator import v1 as pb
from graphmesh_contracts import struct_value

from tests.integration.orchestrator.mesh import serve_billing, serve_orchestrator

SLOW_RUNS = 50
"""More than the event loop's own executor has threads on any machine of at most 28 processors."""
SLOW = """
import threading

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

BEGUN, RELEASED = threading.Semaphore(0), threading.Event()


class State(TypedDict, total=False):
    name: str


def node(state):
    BEGUN.release()
    assert RELEASED.wait(120)
    return {}


graph = StateGraph(State)
graph.add_node("node", node)
graph.add_edge(START, "node")
"""
QUICK = SLOW.replace("    BEGUN.release()\n    assert RELEASED.wait(120)\n", "")

OWN_LOOP = """
import asyncio

from graphmesh.billing.v1 import BillingService, ChargeRequest
from graphmesh.common.v1 import Money
from graphmesh_nodes import call, run_context
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    invoice_id: str
    artifact: str
    charged: int
    answer: str


async def use_mesh(state):
    artifacts = run_context().artifacts
    uri = await artifacts.put(b"bytes")
    assert await artifacts.get(uri) == b"bytes"
    amount = Money(currency_code="EUR", amount_minor=1000)
    response = await call(BillingService.Charge, ChargeRequest(invoice_id=state["invoice_id"], amount=amount))
    return {"artifact": uri, "charged": response.charge.amount.amount_minor}


async def ask(state):
    return {"answer": interrupt("sure?")}


asking = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").compile()
graph = StateGraph(State)
graph.add_node("use_mesh", lambda state: asyncio.run(use_mesh(state)))
graph.add_node("invoke", lambda state: asyncio.run(asking.ainvoke(state)))
graph.add_edge(START, "use_mesh")
graph.add_edge("use_mesh", "invoke")
"""


async def test_synchronous_nodes_run_event_loops_of_their_own(tmp_path: Path) -> None:
    """What they call there is executed on the loop of the run, to which its connections belong."""
    (tmp_path / "own_loop.py").write_text(OWN_LOOP)
    async with serve_billing(tmp_path) as served, serve_orchestrator(tmp_path, served) as mesh:
        invoice_id = await mesh.create_invoice(1000)
        run = await mesh.client.create_run("own_loop", {"invoice_id": invoice_id}, timeout=50)
        parked = await mesh.wait(run)
        assert parked.status == pb.RunStatus.RUN_STATUS_INTERRUPTED
        await mesh.resume(parked, {parked.interrupts[0].interrupt_id: "yes"})
        ended = await mesh.wait(run)
        assert ended.status == pb.RunStatus.RUN_STATUS_SUCCESS
        output = struct_value(ended.output)
        assert (output["charged"], output["answer"]) == (1000, "yes")
        assert await mesh.count_charges(invoice_id) == 1


async def test_slow_nodes_do_not_delay_another_tenant(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "quick.py").write_text(QUICK)
    async with (
        serve_billing(tmp_path) as served,
        serve_orchestrator(tmp_path, served) as mesh,
        mesh.as_new_tenant() as other,
    ):
        module = sys.modules["slow"]
        try:
            slow = [await mesh.client.create_run("slow", {}) for _ in range(SLOW_RUNS)]
            async with asyncio.timeout(60):
                for _ in slow:
                    while not module.BEGUN.acquire(blocking=False):
                        await asyncio.sleep(0.005)
                run = await other.run("quick")
            assert (run.status, module.RELEASED.is_set()) == (pb.RunStatus.RUN_STATUS_SUCCESS, False)
        finally:
            module.RELEASED.set()
        for one in slow:
            assert (await mesh.wait(one)).status == pb.RunStatus.RUN_STATUS_SUCCESS
