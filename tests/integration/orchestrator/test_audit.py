"""The audit log of the orchestrator: who answered, cancelled, updated, deleted, and who was refused."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis import audit_log
from graphmesh_chassis.audit_log import act_name
from graphmesh_chassis.audit_verification import verify
from graphmesh_chassis.errors import NotFound, ScopeMissing
from graphmesh_client import run_request
from graphmesh_local.readonly_database import connect_read_only
from graphmesh_orchestrator.errors import ApprovalAnswered

from tests.integration.orchestrator.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

MINUTE = 60


async def log_of(mesh: Mesh, *, until: Callable[[Sequence[Any]], bool] = bool) -> list[dict[str, Any]]:
    """Return the rows of the tenant in the orchestrator's log, as soon as all are sealed and `until` holds."""
    columns = audit_log.table.c
    query = sa.select(audit_log.table).where(columns.tenant == mesh.tenant).order_by(columns.entry_id)
    async with asyncio.timeout(MINUTE):
        while True:
            with connect_read_only(f"sqlite:///{mesh.folder}/orchestrator.db") as connection:
                rows = connection.execute(query).all()
            if until(rows) and all(row.number for row in rows):
                return [dict(row._mapping) for row in rows]
            await asyncio.sleep(0.05)


def acts(rows: Sequence[Mapping[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    return [(act_name(row["method"]).removeprefix("orchestrator."), *(row[name] for name in columns)) for row in rows]


async def test_answers_of_approvals_are_logged(mesh: Mesh) -> None:
    """With their subject, the run, the thread and the decision; not the answer that was too late."""
    run = await mesh.run("approved_by_rule", invoice_id=await mesh.create_invoice(), amount=500)
    [interrupt] = run.interrupts
    request = pb.RespondApprovalRequest(approval_id=interrupt.approval_id, decision=pb.Decision.DECISION_APPROVE)
    await mesh.call(pb.ApprovalService.RespondApproval, request, subject="ana")
    with pytest.raises(ApprovalAnswered):
        await mesh.call(pb.ApprovalService.RespondApproval, request, subject="eve")
    [row] = rows = await log_of(mesh)
    assert acts(rows, "subject", "result", "detail") == [("RespondApproval", "ana", "OK", "approved")]
    assert (row["run"], row["thread"], row["approval"]) == (run.run_id, run.thread_id, interrupt.approval_id)


async def test_answers_cancellations_updates_and_deletions_are_logged_once(mesh: Mesh) -> None:
    """A repeat changes nothing, and has no row."""
    run = await mesh.run("ask_twice", name="ink")
    [interrupt] = run.interrupts
    await mesh.resume(run, {interrupt.interrupt_id: "yes"})
    run = await mesh.wait(run)
    for _ in range(2):
        await mesh.call(pb.RunService.CancelRun, pb.CancelRunRequest(run_id=run.run_id, reason="wrong"), subject="ana")
    await mesh.wait(run)
    update = pb.UpdateThreadStateRequest(thread_id=run.thread_id, as_node="note")
    update.values.update({"notes": ["corrected"]})
    await mesh.call(pb.ThreadService.UpdateThreadState, update, subject="ana")
    await mesh.call(pb.ThreadService.DeleteThread, pb.DeleteThreadRequest(thread_id=run.thread_id), subject="ana")
    rows = await log_of(mesh, until=lambda rows: len(rows) >= 4)
    assert acts(rows, "subject", "thread", "run") == [
        ("ResumeRun", "local", run.thread_id, run.run_id),
        ("CancelRun", "ana", run.thread_id, run.run_id),
        ("UpdateThreadState", "ana", run.thread_id, ""),
        ("DeleteThread", "ana", run.thread_id, ""),
    ]
    assert rows[0]["detail"] == interrupt.interrupt_id
    assert rows[2]["detail"]  # the checkpoint that was the newest before


async def test_changes_of_schedules_assistants_and_the_store_are_logged(mesh: Mesh) -> None:
    """With their ids and addresses. A deletion of what does not exist has no row; nor has a read."""
    client, run = mesh.client, run_request("ask_twice", {"name": "ink"})
    schedule = await client.schedules.create(run, schedule_id="nightly", cron="0 0 1 1 *", paused=True)
    await client.schedules.resume(schedule.schedule_id)
    await client.schedules.update(schedule.schedule_id, run, interval=86_400)
    await client.schedules.delete(schedule.schedule_id)
    one = (await client.assistants.create("ask_twice", name="polite")).assistant_id
    await client.assistants.update(one, name="kind")
    await client.assistants.set_latest(one, 1)
    await client.assistants.delete(one)
    for _ in range(2):
        await client.store.put(("users", "ada"), "colour", {"is": "blue"})
    await client.store.get(("users", "ada"), "colour")
    for _ in range(2):
        await client.store.delete(("users", "ada"), "colour")
    rows = await log_of(mesh, until=lambda rows: len(rows) >= 11)
    assert acts(rows, "detail") == [
        *((f"{act}Schedule", "nightly") for act in ("Create", "Resume", "Update", "Delete")),
        ("CreateAssistant", one),
        ("UpdateAssistant", f"{one} version 2"),
        ("SetLatestAssistantVersion", f"{one} version 1"),
        ("DeleteAssistant", one),
        *[("PutItem", "users/ada/colour")] * 2,
        ("DeleteItem", "users/ada/colour"),
    ]
    assert {(row["result"], row["subject"]) for row in rows} == {("OK", "local")}


@pytest.mark.parametrize("delete", [True, False])
async def test_threads_that_are_pruned_are_logged(mesh: Mesh, delete: bool) -> None:
    """Not by a dry run."""
    run = await mesh.run("ask_twice", name="ink")
    await mesh.call(pb.RunService.CancelRun, pb.CancelRunRequest(run_id=run.run_id, reason="wrong"))
    await mesh.wait(run)
    for is_dry in (True, False):
        assert (await mesh.client.threads.prune(0, delete=delete, dry_run=is_dry)).threads == 1
    rows = await log_of(mesh, until=lambda rows: len(rows) >= 2)
    assert acts(rows, "thread") == [("CancelRun", run.thread_id), ("PruneThreads", run.thread_id)]


async def test_refusals_are_logged(mesh: Mesh) -> None:
    """A missing scope, and a write to another tenant's run; a read of one is not."""
    run = await mesh.run("ask_twice", name="ink")
    cancel, get = pb.CancelRunRequest(run_id=run.run_id, reason="wrong"), pb.GetRunRequest(run_id=run.run_id)
    async with mesh.as_new_tenant() as other:
        with pytest.raises(ScopeMissing):
            await other.call(pb.RunService.CancelRun, cancel, subject="eve", scopes="runs.read")
        for _ in range(3):
            with pytest.raises(NotFound):
                await other.call(pb.RunService.CancelRun, cancel, subject="eve")
            with pytest.raises(NotFound):
                await other.call(pb.RunService.GetRun, get, subject="eve")
        rows = await log_of(other, until=lambda rows: len(rows) >= 2)
    assert acts(rows, "subject", "result")[:2] == [
        ("CancelRun", "eve", "SCOPE_MISSING"),
        ("CancelRun", "eve", "RESOURCE_NOT_FOUND"),
    ]
    assert {row["method"] for row in rows} == {pb.RunService.CancelRun.path}
    with connect_read_only(f"sqlite:///{mesh.folder}/orchestrator.db") as connection:
        assert verify(connection).broken == ""
