"""Calls of a run are bound to the customer of its input, and services keep to it."""

import pytest
from graphmesh.orchestrator.v1 import RunStatus

from tests.integration.orchestrator.mesh import Mesh, reason

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUCCESS = RunStatus.RUN_STATUS_SUCCESS


async def test_invoice_of_the_customer_is_charged(mesh: Mesh) -> None:
    invoice_id = await mesh.create_invoice()
    run = await mesh.run("charge_own", customer_id="cu_1", invoice_id=invoice_id)
    assert (run.status, await mesh.count_charges(invoice_id)) == (SUCCESS, 1)


async def test_invoice_of_another_customer_is_not_found(mesh: Mesh) -> None:
    invoice_id = await mesh.create_invoice()
    run = await mesh.run("charge_own", customer_id="cu_2", invoice_id=invoice_id)
    assert (reason(run), await mesh.count_charges(invoice_id)) == ("RESOURCE_NOT_FOUND", 0)


async def test_thread_keeps_its_customer(mesh: Mesh) -> None:
    """A later run need not state it, and cannot state another one."""
    first, second = await mesh.create_invoice(), await mesh.create_invoice()
    begun = await mesh.run("charge_own", customer_id="cu_1", invoice_id=first)
    thread = {"thread_id": begun.thread_id}
    other = await mesh.wait(await mesh.create("charge_own", {"customer_id": "cu_2", "invoice_id": second}, **thread))
    assert (reason(other), await mesh.count_charges(second)) == ("INVALID_INPUT", 0)
    again = await mesh.wait(await mesh.create("charge_own", {"invoice_id": second}, **thread))
    assert (again.status, await mesh.count_charges(second)) == (SUCCESS, 1)


async def test_run_without_a_customer_calls_nothing(mesh: Mesh) -> None:
    invoice_id = await mesh.create_invoice()
    run = await mesh.run("charge_own", invoice_id=invoice_id)
    assert (reason(run), await mesh.count_charges(invoice_id)) == ("INVALID_INPUT", 0)
