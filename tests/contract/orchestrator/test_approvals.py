"""Approvals in every store: answered once, by an approver with the scopes, before they expire."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import NotFound, ScopeMissing
from graphmesh_chassis.identity import Caller
from graphmesh_nodes.approval_terms import ApprovalAnswer, ApprovalStatus, ApprovalTerms
from graphmesh_nodes.errors import ApprovalExpired, ApproverIsRequester
from graphmesh_orchestrator.db.rows import InterruptRow
from graphmesh_orchestrator.errors import ApprovalAnswered, RunNotInterrupted
from graphmesh_orchestrator.interrupts.approval import Approval
from graphmesh_orchestrator.run_status import RunStatus
from graphmesh_orchestrator.runs.run import Run

from tests.contract import runs
from tests.contract.orchestrator.stores import SERVED, Stores, a_question

APPROVED, DENIED = ApprovalStatus.APPROVED, ApprovalStatus.DENIED
TTL = 60.0
TERMS = ApprovalTerms("billing.Charge", {"invoice_id": "INV-1"}, "d1", "Really?", ["approvals.billing"], TTL)
ANA = Caller("acme", "ana", None)
CREATED = datetime.now(UTC)


def a_run(number: int = 1) -> Run:
    return runs.a_run(f"run_{number}", thread_id=f"th_{number}")


def request_row(run_id: str, ordinal: int = 1, ttl: float = TTL, four_eyes: bool = False) -> InterruptRow:
    """Return the row of a run's approval request."""
    return a_question(
        run_id,
        f"{run_id}_{ordinal}",
        node="charge",
        value=TERMS.to_interrupt(),
        created=CREATED + timedelta(seconds=ordinal),
        approval_id=f"apr_{run_id}_{ordinal}",
        approval={**asdict(TERMS), "four_eyes": four_eyes, "checkpoint_id": "cp_1"},
        ttl=ttl,
    )


async def parked(stores: Stores, number: int = 1, approvals: int = 1, ttl: float = TTL) -> Run:
    """Park a run for half an hour on approvals, and return it as it was before."""
    run = await stores.begun(a_run(number))
    rows = [request_row(run.run_id, ordinal, ttl) for ordinal in range(1, approvals + 1)]
    await stores.park(run, *rows, ago=timedelta(minutes=30))
    return run


async def an_approval(stores: Stores) -> str:
    """Return the id of the approval that `run_1` waits for."""
    await parked(stores)
    return "apr_run_1_1"


async def status(stores: Stores, run_id: str = "run_1") -> RunStatus:
    return (await stores.runs.get("acme", run_id)).status


def answer_of(approval: Approval) -> ApprovalAnswer:
    """Return the answer that a node should get."""
    return ApprovalAnswer(
        approval.approval_id, "d1", approval.status, approval.answered_by, approval.comment, 1, approval.thread_id
    )


async def test_approval_has_its_terms_and_its_run(stores: Stores) -> None:
    approval = await stores.approvals.get("acme", await an_approval(stores))
    assert (approval.terms, approval.checkpoint_id, approval.status) == (TERMS, "cp_1", ApprovalStatus.PENDING)
    assert (approval.run_id, approval.thread_id, approval.graph, approval.node) == ("run_1", "th_1", "pay", "charge")
    assert (approval.run_status, approval.run_epoch) == (RunStatus.INTERRUPTED, 1)
    assert isinstance(approval.run_epoch, Epoch)


async def test_one_of_a_thousand_answers_is_used(stores: Stores) -> None:
    """The others get the one that is used as an error, and the run gets it as its answer."""
    approvals, approval_id = stores.approvals, await an_approval(stores)

    def answer(number: int) -> Any:
        caller = Caller("acme", f"person_{number}", None)
        return approvals.answer(caller, approval_id, (APPROVED, DENIED)[number % 2], "")

    await asyncio.gather(*(approvals.get("acme", approval_id) for _ in range(50)))  # all connections are open
    outcomes = await asyncio.gather(*(answer(number) for number in range(1000)), return_exceptions=True)
    [used] = [outcome for outcome in outcomes if isinstance(outcome, Approval)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, ApprovalAnswered)]
    assert len(refused) == 999
    assert {(error.data["status"], error.data["by"]) for error in refused} == {(used.status, used.answered_by)}
    [answer_of_run] = (await stores.interrupts.answers("run_1")).values()
    assert ApprovalAnswer.from_resume(answer_of_run) == answer_of(used)


async def test_concurrent_answers_and_expiry_agree(stores: Stores) -> None:
    """Of an answer at the last moment and the expiry, one is used, and the run gets that one."""
    for number in range(40):
        await parked(stores, number, ttl=0.3)
    await stores.advance(0.1)
    attempts = [stores.approvals.answer(ANA, f"apr_run_{number}_1", APPROVED, "") for number in range(40)]
    expiring = [stores.approvals.expire(100) for _ in range(20)]
    await asyncio.gather(*expiring, *attempts, return_exceptions=True)
    async with asyncio.timeout(60):
        while await stores.approvals.find(
            "acme", ApprovalStatus.PENDING, "", None, 100
        ) or await stores.approvals.expire(100):
            await asyncio.sleep(0.02)
    found = await stores.approvals.find("acme", None, "", None, 100)
    assert len(found) == 40
    for approval in found:
        [answer] = (await stores.interrupts.answers(approval.run_id)).values()
        used = ApprovalAnswer.from_resume(answer)
        assert used is not None
        assert used.status == approval.status
        assert await status(stores, approval.run_id) is RunStatus.PENDING


async def test_last_answer_resumes_the_run(stores: Stores) -> None:
    """Any worker can claim it then, and the half hour that it was parked is added to its deadline."""
    before = await parked(stores, approvals=2)
    await stores.approvals.answer(ANA, "apr_run_1_1", APPROVED, "")
    assert await status(stores) is RunStatus.INTERRUPTED
    denied = await stores.approvals.answer(ANA, "apr_run_1_2", DENIED, "no")
    assert (denied.status, denied.answered_by, denied.comment) == (DENIED, "ana", "no")
    [claimed] = await stores.leases("other").claim(SERVED, 1)
    assert claimed.state.deadline - before.state.deadline >= timedelta(minutes=30)


async def test_approver_needs_the_scopes(stores: Stores) -> None:
    """The approval stays open for an approver who has them."""
    approvals, approval_id = stores.approvals, await an_approval(stores)
    with pytest.raises(ScopeMissing, match=r"approvals\.billing"):
        await approvals.answer(Caller("acme", "bob", frozenset({"approvals.crm"})), approval_id, APPROVED, "")
    cora = Caller("acme", "cora", frozenset({"approvals.billing"}))
    assert (await approvals.answer(cora, approval_id, APPROVED, "ok")).answered_by == "cora"


@pytest.mark.parametrize("scopes", [None, frozenset({"approvals.billing"})], ids=["all scopes", "the scope"])
async def test_requester_may_deny_and_not_approve_what_needs_four_eyes(
    stores: Stores, scopes: frozenset[str] | None
) -> None:
    """The requester is the subject that has created the run, through whichever client."""
    for number in (1, 2):
        run = await stores.begun(a_run(number))
        await stores.park(run, request_row(run.run_id, four_eyes=True), ago=timedelta(minutes=30))
    requester = Caller("acme", "ana", scopes, client="another")
    with pytest.raises(ApproverIsRequester, match="ana"):
        await stores.approvals.answer(requester, "apr_run_1_1", APPROVED, "")
    assert await status(stores) is RunStatus.INTERRUPTED
    approval = await stores.approvals.answer(Caller("acme", "bob", scopes), "apr_run_1_1", APPROVED, "")
    assert (approval.requester, approval.terms.four_eyes, approval.answered_by) == ("ana", True, "bob")
    assert (await stores.approvals.answer(requester, "apr_run_2_1", DENIED, "")).status is DENIED


async def test_caller_that_has_answered_a_question_of_the_run_does_not_approve_what_needs_four_eyes(
    stores: Stores,
) -> None:
    """An answer may be another request than that of the caller that has created the run."""
    run = await stores.begun(a_run())
    question = a_question(run.run_id, "question", node="confirm", value="Really?", created=CREATED)
    await stores.park(run, question, request_row(run.run_id, four_eyes=True), ago=timedelta(minutes=30))
    await stores.interrupts.answer("acme", run.run_id, {"question": "another change"}, "bob")
    with pytest.raises(ApproverIsRequester, match="bob"):
        await stores.approvals.answer(Caller("acme", "bob", None), "apr_run_1_1", APPROVED, "")
    assert await status(stores) is RunStatus.INTERRUPTED
    assert (
        await stores.approvals.answer(Caller("acme", "cora", None), "apr_run_1_1", APPROVED, "")
    ).answered_by == "cora"


async def test_approval_is_visible_to_its_tenant_alone(stores: Stores) -> None:
    approvals, approval_id = stores.approvals, await an_approval(stores)
    stranger = Caller("other", "eve", None)
    with pytest.raises(NotFound):
        await approvals.answer(stranger, approval_id, APPROVED, "")
    with pytest.raises(NotFound):
        await approvals.get("other", approval_id)
    assert await approvals.find("other", None, "", None, 10) == []


async def test_late_approval_is_denied(stores: Stores) -> None:
    """By the time alone, also before the expiry is stored; then the run resumes with it, once."""
    approvals, approval_id = stores.approvals, await an_approval(stores)
    await stores.advance(TTL + 1)
    assert (await approvals.get("acme", approval_id)).status is ApprovalStatus.EXPIRED
    with pytest.raises(ApprovalExpired):
        await approvals.answer(ANA, approval_id, APPROVED, "")
    assert sum(await asyncio.gather(*(approvals.expire(10) for _ in range(10)))) == 1
    [answer] = (await stores.interrupts.answers("run_1")).values()
    assert ApprovalAnswer.from_resume(answer) == ApprovalAnswer(
        approval_id, "d1", ApprovalStatus.EXPIRED, "", "", 1, "th_1"
    )
    assert await status(stores) is RunStatus.PENDING
    with pytest.raises(ApprovalExpired):
        await approvals.answer(ANA, approval_id, APPROVED, "")


async def test_approval_that_has_not_expired_stays_open(stores: Stores) -> None:
    await an_approval(stores)
    assert await stores.approvals.expire(10) == 0


async def test_expiry_leaves_the_rest_for_the_next_call(stores: Stores) -> None:
    for number in range(5):
        await parked(stores, number)
    await stores.advance(TTL + 1)
    assert [await stores.approvals.expire(2) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize("elapsed", [0, 2 * TTL])
async def test_next_expiry_is_that_of_the_first_open_approval(stores: Stores, elapsed: float) -> None:
    """As long as any may expire."""
    approvals = stores.approvals
    assert await approvals.next_expiry() is None
    approval_id = await an_approval(stores)
    await stores.advance(elapsed)
    assert await approvals.next_expiry() == pytest.approx(TTL - elapsed, abs=30)
    if elapsed:
        await approvals.expire(10)
    else:
        await approvals.answer(ANA, approval_id, APPROVED, "")
    assert await approvals.next_expiry() is None


@pytest.mark.parametrize("elapsed", [0, TTL + 1])
async def test_approval_of_an_ended_run_is_void(stores: Stores, elapsed: float) -> None:
    """Also when its time is over, and then it is expired no more than once."""
    approvals, approval_id = stores.approvals, await an_approval(stores)
    await stores.runs.request_cancellation("acme", "run_1", "over")
    assert await stores.claimed() == ["run_1"]
    await stores.end("run_1", status=RunStatus.CANCELLED)
    await stores.advance(elapsed)
    for _ in range(2):
        assert (await approvals.get("acme", approval_id)).status is ApprovalStatus.VOID
        with pytest.raises(RunNotInterrupted, match="cancelled"):
            await approvals.answer(ANA, approval_id, APPROVED, "")
        await approvals.expire(10)
    assert await approvals.expire(10) == 0


async def test_run_whose_cancellation_is_requested_takes_no_answer(stores: Stores) -> None:
    """Nor is its approval expired: a worker ends the run."""
    approvals, approval_id = stores.approvals, await an_approval(stores)
    await stores.runs.request_cancellation("acme", "run_1", "over")
    with pytest.raises(RunNotInterrupted):
        await approvals.answer(ANA, approval_id, APPROVED, "")
    await stores.advance(TTL + 1)
    assert await approvals.expire(10) == 0


async def test_overdue_approval_of_an_active_run_is_not_due(stores: Stores) -> None:
    """It cannot be expired before a worker has ended the run: polling for it would not stop until then."""
    await an_approval(stores)
    await parked(stores, 2, ttl=3 * TTL)
    await stores.runs.request_cancellation("acme", "run_1", "over")
    await stores.advance(TTL + 1)
    assert await stores.approvals.next_expiry() == pytest.approx(2 * TTL, abs=30)


async def test_find_returns_pages_of_matching_approvals_the_oldest_first(stores: Stores) -> None:
    """A page begins behind the last approval of the page before."""
    await parked(stores, approvals=7)
    approvals = stores.approvals
    await approvals.answer(ANA, "apr_run_1_3", DENIED, "")
    first = await approvals.find("acme", ApprovalStatus.PENDING, "", None, 4)
    last = first[-1]
    second = await approvals.find("acme", ApprovalStatus.PENDING, "", (last.created, last.approval_id), 4)
    assert [approval.approval_id[-1] for approval in [*first, *second]] == ["1", "2", "4", "5", "6", "7"]
    denied = await approvals.find("acme", DENIED, "run_1", None, 4)
    assert [approval.approval_id for approval in denied] == ["apr_run_1_3"]
    assert await approvals.find("acme", None, "run_2", None, 4) == []


async def test_interrupt_that_any_answer_answers_is_no_approval(stores: Stores) -> None:
    await stores.park(await stores.begun(a_run()), a_question("run_1"))
    assert await stores.approvals.find("acme", None, "", None, 4) == []
