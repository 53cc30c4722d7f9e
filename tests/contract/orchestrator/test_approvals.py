"""Approvals in SQL, on SQLite and PostgreSQL: answered once, by who may, in time (B8; design invariant 8)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from graphmesh_chassis.database import Database, open_database
from graphmesh_chassis.errors import NotFound, ScopeMissing
from graphmesh_chassis.identity import Caller
from graphmesh_nodes.approval_terms import ApprovalAnswer, ApprovalStatus, ApprovalTerms
from graphmesh_nodes.errors import ApprovalExpired
from graphmesh_orchestrator.__main__ import MIGRATIONS
from graphmesh_orchestrator.db.tables import runs
from graphmesh_orchestrator.errors import ApprovalAnswered, RunNotInterrupted
from graphmesh_orchestrator.interrupts.approvals_sql import SqlApprovals
from graphmesh_orchestrator.interrupts.interrupts_sql import PENDING, SqlInterrupts, interrupts
from graphmesh_orchestrator.interrupts.stored_approval import StoredApproval
from graphmesh_orchestrator.leases.leases_sql import SqlLeases
from graphmesh_orchestrator.runs.run import Run, RunStatus
from graphmesh_orchestrator.runs.runs_sql import SqlRuns, values_of

APPROVED, DENIED = ApprovalStatus.APPROVED, ApprovalStatus.DENIED
NOW = datetime.now(UTC)
TERMS = ApprovalTerms("billing.Charge", {"invoice_id": "INV-1"}, "d1", "Really?", ["approvals.billing"], 60)
ANA = Caller("acme", "ana", None)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{tmp_path}/orchestrator.db"


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url, MIGRATIONS) as database:
        yield database


def a_run(number: int = 1, tenant: str = "acme") -> Run:
    """A run that is parked since half an hour."""
    since = NOW - timedelta(minutes=30)
    run = Run(f"run_{number}", tenant, "local", f"th_{number}", "pay", {}, since, NOW + timedelta(hours=1), 25)
    return replace(run, status=RunStatus.INTERRUPTED, parked=since, holds_thread=True, epoch=1)


def asked(run: Run, ordinal: int = 1, expires_in: float = 60) -> dict[str, Any]:
    """The row of what a run asks."""
    return {
        "run_id": run.run_id,
        "interrupt_id": f"{run.run_id}_{ordinal}",
        "tenant": run.tenant,
        "node": "charge",
        "value": TERMS.asked(),
        "created": NOW + timedelta(seconds=ordinal),
        "status": PENDING,
        "answered_by": "",
        "approval_id": f"apr_{run.run_id}_{ordinal}",
        "approval": {**asdict(TERMS), "checkpoint_id": "cp_1"},
        "expires": datetime.now(UTC).timestamp() + expires_in,
        "comment": "",
    }


async def park(database: Database, parked: list[Run], rows: list[dict[str, Any]]) -> None:
    async with database.transaction() as connection:
        free = {"lease_owner": "", "lease_expires": 0}
        await connection.execute(sa.insert(runs), [{**values_of(run), **free} for run in parked])
        await connection.execute(sa.insert(interrupts), rows)


async def one(database: Database, expires_in: float = 60) -> str:
    """The id of the approval that a run waits for."""
    await park(database, [a_run()], [asked(a_run(), expires_in=expires_in)])
    return "apr_run_1_1"


async def status(database: Database, number: int = 1) -> RunStatus:
    return (await SqlRuns(database).get("acme", f"run_{number}")).status


async def test_an_approval_says_what_is_asked(database: Database) -> None:
    approval = await SqlApprovals(database).get("acme", await one(database))
    assert (approval.terms, approval.checkpoint_id, approval.status) == (TERMS, "cp_1", ApprovalStatus.PENDING)
    assert (approval.run_id, approval.thread_id, approval.graph, approval.node) == ("run_1", "th_1", "pay", "charge")


async def test_of_a_thousand_answers_one_is_used(database: Database) -> None:
    """The others are told which one holds, and the run is told that one (B8)."""
    approvals, approval_id = SqlApprovals(database), await one(database)

    def answer(number: int) -> Any:
        caller = Caller("acme", f"person_{number}", None)
        return approvals.answer(caller, approval_id, (APPROVED, DENIED)[number % 2], "")

    await asyncio.gather(*(approvals.get("acme", approval_id) for _ in range(50)))  # all connections are open
    outcomes = await asyncio.gather(*(answer(number) for number in range(1000)), return_exceptions=True)
    [used] = [outcome for outcome in outcomes if isinstance(outcome, StoredApproval)]
    told = [outcome for outcome in outcomes if isinstance(outcome, ApprovalAnswered)]
    assert len(told) == 999
    assert {(one.data["status"], one.data["by"]) for one in told} == {(used.status, used.answered_by)}
    [answer_of_run] = (await SqlInterrupts(database).answers("run_1")).values()
    assert ApprovalAnswer.from_resume(answer_of_run) == ApprovalAnswer(approval_id, "d1", used.status, used.answered_by, "", 1, "th_1")


async def test_answering_and_expiring_at_once(database: Database) -> None:
    """Of an answer in the last moment and the expiry one holds, and the run is told that one."""
    approvals = SqlApprovals(database)
    parked = [a_run(number) for number in range(40)]
    await park(database, parked, [asked(run, expires_in=0.3) for run in parked])
    tries = [approvals.answer(ANA, f"apr_{run.run_id}_1", APPROVED, "") for run in parked]
    expiring = [approvals.expire(100) for _ in range(20)]
    await asyncio.gather(*expiring, *tries, return_exceptions=True)
    async with asyncio.timeout(20):
        while await approvals.find("acme", ApprovalStatus.PENDING, "", None, 100) or await approvals.expire(100):
            await asyncio.sleep(0.02)
    for approval in await approvals.find("acme", None, "", None, 100):
        [answer] = (await SqlInterrupts(database).answers(approval.run_id)).values()
        told = ApprovalAnswer.from_resume(answer)
        assert told is not None
        assert told.status == approval.status
        assert (await SqlRuns(database).get("acme", approval.run_id)).status is RunStatus.PENDING


async def test_the_run_goes_on_with_the_last_answer(database: Database) -> None:
    """It is any worker's from then on, and the half hour that it waited is added to its deadline (B6)."""
    await park(database, [a_run()], [asked(a_run(), 1), asked(a_run(), 2)])
    approvals = SqlApprovals(database)
    await approvals.answer(ANA, "apr_run_1_1", APPROVED, "")
    assert await status(database) is RunStatus.INTERRUPTED
    await approvals.answer(ANA, "apr_run_1_2", DENIED, "no")
    [claimed] = await SqlLeases(database, "worker_1").claim([("pay", 1)], 1)
    assert claimed.deadline - a_run().deadline >= timedelta(minutes=30)


async def test_who_lacks_a_scope_is_told(database: Database) -> None:
    """And it stays open for who has it."""
    approvals, approval_id = SqlApprovals(database), await one(database)
    with pytest.raises(ScopeMissing, match=r"approvals\.billing"):
        await approvals.answer(Caller("acme", "bob", frozenset({"approvals.crm"})), approval_id, APPROVED, "")
    cora = Caller("acme", "cora", frozenset({"approvals.billing"}))
    assert (await approvals.answer(cora, approval_id, APPROVED, "ok")).answered_by == "cora"


async def test_tenants_are_apart(database: Database) -> None:
    """Another tenant's approval is not there (H1)."""
    approvals, approval_id = SqlApprovals(database), await one(database)
    stranger = Caller("other", "eve", None)
    with pytest.raises(NotFound):
        await approvals.answer(stranger, approval_id, APPROVED, "")
    with pytest.raises(NotFound):
        await approvals.get("other", approval_id)
    assert await approvals.find("other", None, "", None, 10) == []


async def test_what_is_late_is_denied(database: Database) -> None:
    """By the time itself, also before anybody has looked; then the run goes on with that, once."""
    approvals, approval_id = SqlApprovals(database), await one(database, expires_in=-1)
    assert (await approvals.get("acme", approval_id)).status is ApprovalStatus.EXPIRED
    with pytest.raises(ApprovalExpired):
        await approvals.answer(ANA, approval_id, APPROVED, "")
    assert sum(await asyncio.gather(*(approvals.expire(10) for _ in range(10)))) == 1
    [answer] = (await SqlInterrupts(database).answers("run_1")).values()
    assert ApprovalAnswer.from_resume(answer) == ApprovalAnswer(approval_id, "d1", ApprovalStatus.EXPIRED, "", "", 1, "th_1")
    assert await status(database) is RunStatus.PENDING
    with pytest.raises(ApprovalExpired):
        await approvals.answer(ANA, approval_id, APPROVED, "")


async def test_what_is_not_late_is_left(database: Database) -> None:
    await one(database)
    assert await SqlApprovals(database).expire(10) == 0


@pytest.mark.parametrize("expires_in", [3600, -60])
async def test_the_next_expiry_is_told(database: Database, expires_in: float) -> None:
    """As long as anything may expire."""
    approvals = SqlApprovals(database)
    assert await approvals.next_expiry() is None
    approval_id = await one(database, expires_in)
    assert await approvals.next_expiry() == pytest.approx(expires_in, abs=60)
    if expires_in > 0:
        await approvals.answer(ANA, approval_id, APPROVED, "")
    else:
        await approvals.expire(10)
    assert await approvals.next_expiry() is None


@pytest.mark.parametrize("expires_in", [60, -1])
async def test_of_a_run_that_has_ended_it_is_void(database: Database, expires_in: float) -> None:
    """Also when its time is over, and then nobody looks at it again."""
    approvals, approval_id = SqlApprovals(database), await one(database, expires_in)
    async with database.transaction() as connection:
        await connection.execute(sa.update(runs).values(status=RunStatus.CANCELLED, holds_thread=False))
    for _ in range(2):
        assert (await approvals.get("acme", approval_id)).status is ApprovalStatus.VOID
        with pytest.raises(RunNotInterrupted, match="cancelled"):
            await approvals.answer(ANA, approval_id, APPROVED, "")
        await approvals.expire(10)
    assert await approvals.expire(10) == 0


async def test_a_run_that_is_being_cancelled_takes_no_answer(database: Database) -> None:
    approvals, approval_id = SqlApprovals(database), await one(database)
    await SqlRuns(database).ask_to_cancel("acme", "run_1", "over")
    with pytest.raises(RunNotInterrupted):
        await approvals.answer(ANA, approval_id, APPROVED, "")


async def test_pages_and_filters(database: Database) -> None:
    """The oldest first; a page goes on after the last one of the page before."""
    await park(database, [a_run()], [asked(a_run(), ordinal) for ordinal in range(1, 8)])
    approvals = SqlApprovals(database)
    await approvals.answer(ANA, "apr_run_1_3", DENIED, "")
    first = await approvals.find("acme", ApprovalStatus.PENDING, "", None, 4)
    last = first[-1]
    second = await approvals.find("acme", ApprovalStatus.PENDING, "", (last.created, last.approval_id), 4)
    assert [approval.approval_id[-1] for approval in [*first, *second]] == ["1", "2", "4", "5", "6", "7"]
    assert [approval.approval_id for approval in await approvals.find("acme", DENIED, "run_1", None, 4)] == [
        "apr_run_1_3"
    ]
    assert await approvals.find("acme", None, "run_2", None, 4) == []


async def test_ten_thousand_parked_runs_are_rows_and_nothing_else(database: Database) -> None:
    """No worker gets one, and the one that is answered goes on among them."""
    parked = [a_run(number) for number in range(10_000)]
    await park(database, parked, [asked(run) for run in parked])
    approvals, leases = SqlApprovals(database), SqlLeases(database, "worker_1")
    assert (await leases.claim([("pay", 1)], 100), await approvals.expire(100)) == ([], 0)
    await approvals.answer(ANA, "apr_run_7000_1", APPROVED, "")
    assert [run.run_id for run in await leases.claim([("pay", 1)], 100)] == ["run_7000"]
