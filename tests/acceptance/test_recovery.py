"""The orchestrator dies while a run makes a refund."""

import asyncio
import os
import signal
from collections.abc import Sequence

import pytest
from graphmesh_local.server_programs import ORCHESTRATOR

from tests.acceptance.local_mesh import LocalMesh, eventually
from tests.acceptance.refund_watcher import RefundWatcher, assert_refunded_once, is_refunded_once

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMEOUT = 60
VICTIMS = ([ORCHESTRATOR], [ORCHESTRATOR, "billing"])
"""The processes that are killed."""


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
async def test_resumes_after_death_before_the_refund(killable_mesh: LocalMesh, victims: Sequence[str]) -> None:
    """The restarted orchestrator resumes the run: one refund, each event once and without a gap."""
    invoice = f"INV-BEFORE-{len(victims)}"
    await killable_mesh.create_paid_invoice(invoice)
    async with killable_mesh.client(TIMEOUT) as client:
        with killable_mesh.writes_blocked("billing"):
            watcher = await RefundWatcher.begin(client, invoice)
            await watcher.wait_for_refund_node()
            for name in victims:
                await killable_mesh.kill(name)
        await asyncio.gather(*map(killable_mesh.running.restart, victims))
        await assert_refunded_once(killable_mesh, client, watcher, invoice)


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
async def test_resumes_after_death_after_the_refund(killable_mesh: LocalMesh, victims: Sequence[str]) -> None:
    """The orchestrator never received the response: the restarted one repeats the call with the same key."""
    invoice = f"INV-AFTER-{len(victims)}"
    await killable_mesh.create_paid_invoice(invoice)
    async with killable_mesh.client(TIMEOUT) as client:
        with killable_mesh.writes_blocked("billing"):
            watcher = await RefundWatcher.begin(client, invoice)
            await watcher.wait_for_refund_node()
            os.kill(killable_mesh.running.child(ORCHESTRATOR).pid, signal.SIGSTOP)
        await eventually(lambda: is_refunded_once(killable_mesh, invoice))
        for name in victims:
            await killable_mesh.kill(name)
        await asyncio.gather(*map(killable_mesh.running.restart, victims))
        await assert_refunded_once(killable_mesh, client, watcher, invoice)
