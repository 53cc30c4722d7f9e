"""Slow synchronous nodes of one tenant's graph do not delay the synchronous node of another's."""

import asyncio
import sys
from pathlib import Path

from graphmesh.orchestrator import v1 as pb

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
