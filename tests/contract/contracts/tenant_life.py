"""What a tenant does with every RPC of every service that can name something of a tenant.

The ids that it chooses begin with `mine`, and the texts that it writes contain SECRET: neither may ever be in the
answer to another tenant.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from graphmesh.billing.v1 import BillingService as Billing
from graphmesh.crm.v1 import CrmService as Crm
from graphmesh.model.v1 import ModelService as Models
from graphmesh.orchestrator.v1 import (
    ApprovalService as Approvals,
)
from graphmesh.orchestrator.v1 import (
    AssistantService as Assistants,
)
from graphmesh.orchestrator.v1 import (
    RunService as Runs,
)
from graphmesh.orchestrator.v1 import (
    ScheduleService as Schedules,
)
from graphmesh.orchestrator.v1 import (
    StoreService as Store,
)
from graphmesh.orchestrator.v1 import (
    ThreadService as Threads,
)
from graphmesh.orchestrator.v1 import (
    WebhookService as Webhooks,
)
from graphmesh.retrieval.v1 import RetrievalService as Retrieval
from graphmesh.ticketing.v1 import TicketingService as Ticketing
from graphmesh_contracts import Method

SECRET = "secretofmine"
NOTE = f"The {SECRET}"
EURO = {"currencyCode": "EUR", "amountMinor": "100"}

Call = Callable[..., Awaitable[Any]]
"""Makes a call with the fields of a request in their JSON form, and returns the JSON of its response."""


async def live(call: Call) -> None:
    """Make every call once at least, in an order in which each succeeds."""
    await live_with_a_customer(call)
    await _knowledge(call)
    await _assistants(call)
    await _store(call)
    await _threads(call)
    await _runs(call)
    await _schedules(call)


async def live_with_a_customer(call: Call) -> None:
    """Make every call of the services with records of customers, which are all of the customer `mine-cu`."""
    await _billing(call)
    await _crm(call)
    await _tickets(call)


async def leave_open(call: Call, attempt: Callable[..., None]) -> None:
    """Leave a run, an approval and more that can still be changed, and state what others attempt with them."""
    ask = {"graph": "asking", "input": {"note": NOTE}, "threadId": "mine-th6", "requestId": "mine-rq6"}
    asking = (await call(Runs.ExecuteRun, run=ask, maxWait="20s"))["run"]
    pay = {"graph": "charging", "input": {"note": "mine-in1"}, "threadId": "mine-th7", "requestId": "mine-rq7"}
    paying = (await call(Runs.ExecuteRun, run=pay, maxWait="20s"))["run"]
    [approval] = (await call(Approvals.ListApprovals, runId=paying["runId"]))["approvals"]
    for run in (asking, paying):
        await call(Runs.RecordFeedback, runId=run["runId"], score=0.5, comment=NOTE)
        await call(Runs.GetRun, runId=run["runId"])
        attempt(Runs.CancelRun, runId=run["runId"], reason=NOTE)
    await call(Approvals.GetApproval, approvalId=approval["approvalId"])
    await pages(call, Approvals.ListApprovals)
    await call(Approvals.ListApprovals, approvalIdPrefix=approval["approvalId"])
    await call(Threads.GetThread, threadId="mine-th6")
    attempt(Runs.ResumeRun, runId=asking["runId"], answers={asking["interrupts"][0]["interruptId"]: NOTE})
    attempt(Approvals.RespondApproval, approvalId=approval["approvalId"], decision="DECISION_APPROVE")
    attempt(Threads.PruneThreads, unusedFor="0s", delete=True)
    attempt(Threads.UpdateThreadState, threadId="mine-th2", values={"note": "other"}, asNode="report")
    for thread in ("mine-th2", "mine-th4"):
        attempt(Threads.UpdateThread, threadId=thread, labels={"note": "other"})
        attempt(Threads.DeleteThread, threadId=thread)
    attempt(Assistants.DeleteAssistant, assistantId="mine-as")
    attempt(Schedules.DeleteSchedule, scheduleId="mine-sc")
    attempt(Store.DeleteItem, namespace=["mine-ns", "mine-k1"], key="mine-k1")
    attempt(Retrieval.DeleteDocuments, documentIds=["mine-doc1"])


async def pages(call: Call, rpc: Method[Any, Any], **fields: Any) -> None:
    """List with pages of one, and read the second page."""
    first = await call(rpc, pageSize=1, **fields)
    if token := first.get("nextPageToken"):
        await call(rpc, pageSize=1, pageToken=token, **fields)


async def _billing(call: Call) -> None:
    for number in ("1", "2"):
        line = {"description": NOTE, "quantity": 1, "unitPrice": {**EURO, "amountMinor": "1000"}, "lineId": "line"}
        await call(Billing.CreateInvoice, invoiceId=f"mine-in{number}", customerId="mine-cu", lines=[line])
    charged = await call(Billing.Charge, invoiceId="mine-in1", amount={**EURO, "amountMinor": "1000"})
    charge = charged["charge"]["chargeId"]
    await call(Billing.GetInvoice, invoiceId="mine-in1")
    await pages(call, Billing.ListInvoices, customerId="mine-cu")
    await call(Billing.SetRefundPolicy, policy={"rules": []})
    await call(Billing.GetRefundPolicy)
    selection = [{"lineId": "line", "amount": EURO}]
    await call(Billing.PreviewRefund, chargeId=charge, amount=EURO, lines=selection)
    await call(Billing.Refund, chargeId=charge, amount=EURO, cause=NOTE, lines=selection)
    await call(Billing.RecordChargeback, chargeId=charge, amount=EURO)
    await call(Billing.CreateCreditNote, invoiceId="mine-in2", lines=selection, cause=NOTE)
    await call(Billing.GetCharge, chargeId=charge)
    await pages(call, Billing.GetStatement, customerId="mine-cu", currencyCode="EUR")
    await call(Billing.GetTrialBalance)


async def _crm(call: Call) -> None:
    for number in ("", "2"):
        await call(Crm.CreateCustomer, customerId=f"mine-cu{number}", name=NOTE, email=f"{SECRET}{number}@example.com")
    await call(Crm.GetCustomer, customerId="mine-cu")
    await pages(call, Crm.SearchCustomers, text=SECRET)
    for company in (SECRET, NOTE):
        changed = {"customer": {"company": company}, "updateMask": "company", "reason": NOTE}
        await call(Crm.UpdateCustomer, customerId="mine-cu", **changed)
    await pages(call, Crm.ListCustomerChanges, customerId="mine-cu")
    for number in ("1", "2"):
        await call(Crm.AddRecord, customerId="mine-cu", kind="order", recordId=f"mine-or{number}", title=NOTE)
    await pages(call, Crm.ListRecords, customerId="mine-cu")


async def _knowledge(call: Call) -> None:
    documents = [{"documentId": f"mine-doc{number}", "title": NOTE, "text": f"{NOTE} is a nib."} for number in (1, 2)]
    await call(Retrieval.IngestDocuments, documents=documents)
    await call(Retrieval.IngestDocuments, documents=[{**documents[0], "text": f"{NOTE} is a pen."}])
    found = await call(Retrieval.Search, query=SECRET)
    await call(Retrieval.GetPassage, passageId=found["passages"][0]["passageId"])
    await call(Retrieval.GetDocument, documentId="mine-doc1")
    await pages(call, Retrieval.ListDocumentVersions, documentId="mine-doc1")
    await pages(call, Retrieval.ListDocuments)
    await call(Retrieval.DeleteDocuments, documentIds=["mine-doc2"])
    await call(Models.Generate, prompt={"messages": [{"user": {"text": NOTE}}]})
    await call(Models.StreamGenerate, prompt={"messages": [{"user": {"text": NOTE}}]})
    await call(Models.ListUsage, run="mine-run")
    await call(Models.ListBudgets, run="mine-run")


async def _tickets(call: Call) -> None:
    made = [await call(Ticketing.CreateTicket, subject=NOTE, description=NOTE, customerId="mine-cu") for _ in (1, 2)]
    ticket = made[0]["ticket"]["ticketId"]
    await call(Ticketing.GetTicket, ticketId=ticket)
    await call(Ticketing.UpdateTicket, ticketId=ticket, ticket={"assignee": SECRET}, updateMask="assignee")
    for _ in (1, 2):
        await call(Ticketing.AddComment, ticketId=ticket, author="ada", text=NOTE)
    await pages(call, Ticketing.ListComments, ticketId=ticket)
    await pages(call, Ticketing.SearchTickets, customerId="mine-cu")
    policy = (await call(Ticketing.GetTicketPolicy))["policy"]
    await call(Ticketing.SetTicketPolicy, policy=policy)


async def _assistants(call: Call) -> None:
    for name in ("mine-as", "mine-as2", "mine-as3"):
        await call(Assistants.CreateAssistant, assistantId=name, graph="asking", name=f"mine {name}")
    await call(Assistants.GetAssistant, assistant="mine-as")
    await call(Assistants.UpdateAssistant, assistantId="mine-as", description=NOTE)
    await pages(call, Assistants.SearchAssistants)
    generated = (await call(Assistants.CreateAssistant, graph="asking"))["assistant"]["assistantId"]
    await call(Assistants.SearchAssistants, assistantIdPrefix=generated)
    await pages(call, Assistants.ListAssistantVersions, assistantId="mine-as")
    await call(Assistants.SetLatestAssistantVersion, assistantId="mine-as", version=1)
    await call(Assistants.DeleteAssistant, assistantId="mine-as3")


async def _store(call: Call) -> None:
    for key in ("mine-k1", "mine-k2", "mine-k3"):
        await call(Store.PutItem, namespace=["mine-ns", key], key=key, value={"note": NOTE})
    await call(Store.GetItem, namespace=["mine-ns", "mine-k1"], key="mine-k1")
    await pages(call, Store.SearchItems, namespacePrefix=["mine-ns"])
    await pages(call, Store.ListNamespaces, prefix=["mine-ns"])
    await call(Store.DeleteItem, namespace=["mine-ns", "mine-k3"], key="mine-k3")


async def _threads(call: Call) -> None:
    for thread in ("mine-th", "mine-th2", "mine-th3"):
        await call(Threads.CreateThread, threadId=thread, graph="asking", labels={"note": NOTE})
    await call(Threads.GetThread, threadId="mine-th")
    await pages(call, Threads.ListThreads)
    generated = (await call(Threads.CreateThread, labels={"note": NOTE}))["thread"]["threadId"]
    await call(Threads.ListThreads, threadIdPrefix=generated)
    await call(Threads.UpdateThread, threadId="mine-th", labels={"note": NOTE})
    updated = {"threadId": "mine-th2", "values": {"note": NOTE}, "asNode": "report"}
    state = (await call(Threads.UpdateThreadState, **updated))["state"]["checkpointId"]
    await call(Threads.UpdateThreadState, **updated, checkpointId=state)
    await call(Threads.ForkThread, threadId="mine-th2", newThreadId="mine-th4", checkpointId=state)
    await call(Threads.DeleteThread, threadId="mine-th3")


async def _runs(call: Call) -> None:
    fields = {"input": {"note": NOTE}, "requestId": "mine-rq1", "threadId": "mine-th"}
    begun = await call(Runs.ExecuteRun, run={**fields, "graph": "asking"}, maxWait="20s")
    run, interrupts = begun["run"]["runId"], begun["run"]["interrupts"]
    webhook = "http://127.0.0.1:9/mine"
    await call(Runs.CreateRun, graph="charging", input={"note": "mine-in1"}, requestId="mine-rq2", threadId="mine-th5")
    of_assistant = {"assistant": "mine-as", "assistantVersion": 1, "input": {"note": NOTE}, "webhookUrl": webhook}
    await call(Runs.CreateRun, **of_assistant, requestId="mine-rq3")
    await call(Runs.ExecuteRun, run={**of_assistant, "requestId": "mine-rq5"}, maxWait="20s")
    charging = (await call(Runs.ListRuns, threadId="mine-th5"))["runs"][0]["runId"]
    await call(Runs.GetRun, runId=run)
    await call(Runs.ListBudgets)
    await call(Runs.WaitRun, runId=charging, maxWait="20s")
    await call(Runs.StreamRun, runId=run)
    await pages(call, Runs.ListRuns)
    await call(Runs.ListRuns, runIdPrefix=run)
    await pages(call, Threads.ListThreadStates, threadId="mine-th")
    state = await call(Threads.GetThreadState, threadId="mine-th")
    await call(Threads.GetThreadState, threadId="mine-th", checkpointId=state["state"]["checkpointId"])
    await call(Threads.ReadArtifact, threadId="mine-th", digest=_digest(state))
    [approval] = (await call(Approvals.ListApprovals, runId=charging))["approvals"]
    await call(Approvals.GetApproval, approvalId=approval["approvalId"])
    await call(Approvals.RespondApproval, approvalId=approval["approvalId"], decision="DECISION_DENY", comment=NOTE)
    await call(Runs.ResumeRun, runId=run, answers={interrupts[0]["interruptId"]: NOTE})
    for each in (run, charging):
        await call(Runs.WaitRun, runId=each, maxWait="20s")
    again = {"graph": "asking", "threadId": "mine-th", "checkpointId": state["state"]["checkpointId"]}
    again |= {"multitaskStrategy": "MULTITASK_STRATEGY_ENQUEUE"}
    await call(Runs.CreateRun, **again, requestId="mine-rq8")
    await call(Runs.ExecuteRun, run={**again, "requestId": "mine-rq9"}, maxWait="1s")
    for hooked in [one["runId"] for one in (await call(Runs.ListRuns, assistantId="mine-as"))["runs"]]:
        await call(Runs.CancelRun, runId=hooked, reason=NOTE)
        await call(Runs.WaitRun, runId=hooked, maxWait="20s")
        [delivery] = (await call(Webhooks.ListDeliveries, runId=hooked))["deliveries"]
        await call(Webhooks.RetryDelivery, deliveryId=delivery["deliveryId"])
        await call(Webhooks.ListDeliveries, deliveryIdPrefix=delivery["deliveryId"])
    await pages(call, Webhooks.ListDeliveries)
    await call(Threads.PruneThreads, unusedFor="0s", dryRun=True)


async def _schedules(call: Call) -> None:
    spec = {"run": {"graph": "asking", "input": {"note": NOTE}}, "cron": "0 0 1 1 *"}
    for schedule in ("mine-sc", "mine-sc2", "mine-sc3"):
        await call(Schedules.CreateSchedule, scheduleId=schedule, spec=spec)
    await call(Schedules.GetSchedule, scheduleId="mine-sc")
    await pages(call, Schedules.ListSchedules)
    run = {"assistant": "mine-as", "assistantVersion": 1, "input": {"note": NOTE}, "threadId": "mine-th8"}
    await call(Schedules.CreateSchedule, scheduleId="mine-sc4", spec={**spec, "run": run})
    await call(Schedules.UpdateSchedule, scheduleId="mine-sc4", spec={**spec, "run": run})
    await call(Schedules.ListSchedules, threadId="mine-th8")
    generated = (await call(Schedules.CreateSchedule, spec=spec))["schedule"]["scheduleId"]
    await call(Schedules.ListSchedules, scheduleIdPrefix=generated)
    await call(Schedules.UpdateSchedule, scheduleId="mine-sc", spec=spec)
    await call(Schedules.PauseSchedule, scheduleId="mine-sc")
    await call(Schedules.ResumeSchedule, scheduleId="mine-sc")
    triggered = await call(Schedules.TriggerSchedule, scheduleId="mine-sc", requestId="mine-rq4")
    await call(Runs.WaitRun, runId=triggered["run"]["runId"], maxWait="20s")
    await call(Runs.ListRuns, scheduleId="mine-sc")
    await call(Schedules.DeleteSchedule, scheduleId="mine-sc3")


def _digest(state: Any) -> str:
    """The digest of the artifact in the state of `asking`."""
    found = re.search(r"[0-9a-f]{64}", str(state["state"]["values"]["report"]))
    assert found
    return found[0]
