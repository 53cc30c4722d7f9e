"""The workload: an invoice for each run, clients that request the runs, and approvers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from graphmesh.billing.v1 import BillingService, CreateInvoiceRequest, InvoiceLine
from graphmesh.common.v1 import Money
from graphmesh.orchestrator.v1 import Run
from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.errors import DependencyError, GraphmeshError
from graphmesh_client import Client
from graphmesh_client.run_status import RunPhase, phase_of
from graphmesh_contracts import method_policy
from graphmesh_local.running_mesh import RunningMesh
from graphmesh_nodes.approval_terms import ApprovalStatus

from graphmesh_chaos.history import Answer, RunRequest
from graphmesh_chaos.mesh_files import PAYMENTS
from graphmesh_chaos.schedule import Submission

TENANT = "default"
MAX_IN_FLIGHT = 24
"""Runs that clients wait for at the same time."""
INVOICE_FACTOR = 4
"""An invoice is this many times the charge: the rules of billing must not hide a second charge."""
PATIENCE_SECONDS = 180.0
"""Time for which clients repeat calls that got no response."""
ENDED_WITHIN_SECONDS = 400.0
"""Longest wait of a client for the end of its run: one that is parked without a question never ends."""
POLL_SECONDS = 0.2
"""Interval of polling pending approvals and parked runs."""
ANSWER_SETS = ((True,), (True, True), (True, False), (True,), (False,), (True, True, True))
"""The concurrent answers to one approval: duplicates and contradictions included."""
RUN_SECONDS = 4 * 3600.0
"""The deadline of a run, which ends long before. No jump of the database's clock reaches it; one of a process does."""


def request_of(submission: Submission) -> RunRequest:
    """The request of a submission, without a response yet."""
    number = f"{submission.number:05}"
    return RunRequest(f"chaos-{number}", f"INV-{number}", f"cu_{number}", submission.amount, run_ids=())


async def create_invoices(mesh: Channel, requests: Sequence[RunRequest]) -> None:
    scopes = " ".join(sorted(method_policy(BillingService.CreateInvoice.descriptor).scopes))
    caller = ((metadata.TENANT, TENANT), (metadata.SUBJECT, "chaos"), (metadata.SCOPES, scopes))
    for request in requests:
        price = Money(currency_code="EUR", amount_minor=request.amount * INVOICE_FACTOR)
        line = InvoiceLine(description="Ink", quantity=1, unit_price=price)
        invoice = CreateInvoiceRequest(invoice_id=request.invoice_id, customer_id=request.customer_id, lines=[line])
        headers = [*caller, (metadata.IDEMPOTENCY_KEY, request.request_id)]
        await mesh.unary(BillingService.CreateInvoice, invoice, deadline=Deadline.after(60), headers=headers)


def client_of(mesh: RunningMesh) -> Client:
    """A client that repeats calls which got no response."""
    return Client(mesh.edge, tenant=TENANT, retry_timeout=PATIENCE_SECONDS, token=mesh.token(TENANT))


async def submit_runs(mesh: RunningMesh, submissions: Sequence[Submission]) -> list[RunRequest]:
    """Submit every run at its time, and wait until it ends; returns the requests with their responses."""
    in_flight, began = asyncio.Semaphore(MAX_IN_FLIGHT), asyncio.get_running_loop().time()

    async def submit(client: Client, submission: Submission) -> RunRequest:
        await asyncio.sleep(began + submission.at - asyncio.get_running_loop().time())
        async with in_flight:
            return await submit_and_wait(client, request_of(submission), submission.copies)

    async with client_of(mesh) as client:
        return list(await asyncio.gather(*(submit(client, submission) for submission in submissions)))


async def submit_and_wait(client: Client, request: RunRequest, copies: int) -> RunRequest:
    """Send `copies` of a request at once, and wait for the end of the run if any of them gets a response."""
    responses = await asyncio.gather(*(create_run(client, request) for _ in range(copies)))
    run_ids = tuple(run_id for run_id in responses if run_id)
    with suppress(DependencyError, TimeoutError):  # the checker reports a run that has not ended
        async with asyncio.timeout(ENDED_WITHIN_SECONDS):
            await asyncio.gather(*(wait_until_ended(client, run_id) for run_id in run_ids[:1]))
    return replace(request, run_ids=run_ids)


async def create_run(client: Client, request: RunRequest) -> str:
    """The run_id of the response; empty if none came within `PATIENCE_SECONDS`."""
    input = {"invoice_id": request.invoice_id, "amount": request.amount}
    with suppress(DependencyError):
        run = await client.create_run(PAYMENTS, input, request_id=request.request_id, timeout=RUN_SECONDS)
        return run.run_id
    return ""


async def wait_until_ended(client: Client, run_id: str) -> Run:
    """The run when it has ended. While it is parked, this polls until an approver has answered."""
    while phase_of((run := await client.wait_run(run_id, timeout=PATIENCE_SECONDS)).status) is RunPhase.PARKED:
        await asyncio.sleep(POLL_SECONDS)
    return run


class Approvers:
    """Approvers that answer all approvals, some of them twice or with contradicting answers at the same time."""

    def __init__(self, mesh: RunningMesh) -> None:
        self._mesh = mesh
        self.acknowledged: list[Answer] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Approvers"]:
        """Answer in the background while the body runs."""
        task = asyncio.create_task(self._run(), name="approvers")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        async with client_of(self._mesh) as client:
            while True:
                with suppress(DependencyError):
                    pending = await client.approvals.find(limit=500)
                    await asyncio.gather(*(self._answer(client, approval.approval_id) for approval in pending))
                await asyncio.sleep(POLL_SECONDS)

    async def _answer(self, client: Client, approval_id: str) -> None:
        answers = ANSWER_SETS[int(approval_id[-4:], 16) % len(ANSWER_SETS)]
        await asyncio.gather(*(self._respond(client, approval_id, approve) for approve in answers))

    async def _respond(self, client: Client, approval_id: str, approve: bool) -> None:
        with suppress(GraphmeshError):  # refused, or unknown whether it was accepted
            await client.approvals.respond(approval_id, approve=approve)
            status = ApprovalStatus.APPROVED if approve else ApprovalStatus.DENIED
            self.acknowledged.append(Answer(approval_id, status))
