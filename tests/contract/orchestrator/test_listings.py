"""Listings read what they show: one page of big rows does not read the others."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, cast

import pytest
from graphmesh.orchestrator import v1 as pb
from graphmesh_chassis.calls import Call, set_current
from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.identity import Caller
from graphmesh_nodes.approval_terms import ApprovalTerms
from graphmesh_orchestrator.api import approval_service, run_service
from graphmesh_orchestrator.api.approval_service import ApprovalServicer
from graphmesh_orchestrator.api.run_service import RunServicer

from tests.contract.orchestrator.stores import NOW, WORKER, Stores, a_question
from tests.contract.runs import a_run

BIG = {"text": "x" * 600_000}
RUNS = 12
FITTING = 3
"""The number of BIG values in a page."""


class Reads:
    """A store whose listing is counted."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.rows = 0
        """The rows that were read with their contents."""
        self.queries = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def find(self, *args: Any, contents: bool = True) -> Sequence[Any]:
        options = {} if contents else {"contents": False}
        found: Sequence[Any] = await self._store.find(*args, **options)
        self.queries += 1
        self.rows += len(found) if contents else 0
        return found


@pytest.fixture(autouse=True)
def call() -> Iterator[None]:
    """A call of the stores' tenant."""
    missing = cast(Any, None)
    caller, deadline = Caller("acme", "ana", None), Deadline.after(600)
    call = Call(missing, missing, missing, "", missing, missing, {}, caller=caller, deadline=deadline)
    set_current(call)
    yield
    set_current(None)


def number_of(run_id: str) -> int:
    return int(run_id.rpartition("_")[2])


async def add(stores: Stores) -> None:
    for number in range(RUNS):
        await stores.runs.add(a_run(f"run_{number}", created=NOW + timedelta(seconds=number), input=BIG), WORKER)


async def listed(reads: Reads, stores: Stores, **fields: Any) -> pb.ListRunsResponse:
    other = cast(Any, None)
    servicer = RunServicer(
        cast(Any, reads), stores.feedbacks, stores.interrupts, other, other, other, other, other, other, other, other
    )
    return await servicer.ListRuns(pb.ListRunsRequest(**fields), None)


async def test_a_basic_list_reads_no_contents(stores: Stores) -> None:
    """All in one page, by one query; but for input, output and the values of interrupts, each is as in a full list."""
    await add(stores)
    parked = await stores.runs.get("acme", "run_0")
    await stores.park(parked, a_question("run_0", value=BIG))
    reads = Reads(stores.runs)
    basic = await listed(reads, stores, view=pb.RunView.RUN_VIEW_BASIC)
    assert (reads.queries, reads.rows) == (1, 0)
    assert [number_of(run.run_id) for run in basic.runs] == list(reversed(range(RUNS)))
    assert not any(run.HasField("input") for run in basic.runs)
    assert [interrupt.HasField("value") for interrupt in basic.runs[-1].interrupts] == [False]
    [full] = [run for run in await everything(stores) if run.run_id == "run_0"]
    full.ClearField("input")
    full.interrupts[0].ClearField("value")
    assert basic.runs[-1] == full


@pytest.mark.parametrize("view", [pb.RunView.RUN_VIEW_UNSPECIFIED, pb.RunView.RUN_VIEW_FULL])
async def test_a_full_list_reads_little_more_than_its_page(stores: Stores, view: pb.RunView.ValueType) -> None:
    await add(stores)
    reads = Reads(stores.runs)
    page = await listed(reads, stores, view=view, page_size=500)
    assert [number_of(run.run_id) for run in page.runs] == [RUNS - 1 - number for number in range(FITTING)]
    assert reads.rows < FITTING + run_service.BATCH_RUNS


async def test_pages_of_a_full_list_have_every_run_once(stores: Stores) -> None:
    """Runs of one instant too, across batches and pages."""
    for number in range(3 * run_service.BATCH_RUNS + 1):
        await stores.runs.add(a_run(f"run_{number:02}", created=NOW), WORKER)
    for size in (1, run_service.BATCH_RUNS - 1, run_service.BATCH_RUNS, 2 * run_service.BATCH_RUNS + 1, 50):
        found = [run.run_id for run in await everything(stores, size)]
        assert found == [f"run_{number:02}" for number in reversed(range(3 * run_service.BATCH_RUNS + 1))]


async def everything(stores: Stores, size: int = 50) -> list[pb.Run]:
    runs: list[pb.Run] = []
    token = ""
    while True:
        page = await listed(Reads(stores.runs), stores, page_size=size, page_token=token)
        runs += page.runs
        if not (token := page.next_page_token):
            return runs


async def test_a_list_of_approvals_reads_little_more_than_its_page(stores: Stores) -> None:
    """Every approval once, over all pages."""
    count = 3 * approval_service.BATCH_APPROVALS
    [run] = [await stores.begun(a_run("run_1", created=NOW))]
    terms = ApprovalTerms("billing.Charge", BIG, "d1", "Really?", ["approvals.billing"], 60.0)
    rows = [
        a_question(
            run.run_id,
            f"ask_{number:02}",
            value="?",
            created=NOW + timedelta(seconds=number),
            approval_id=f"apr_{number:02}",
            approval={**asdict(terms), "checkpoint_id": "cp_1"},
            ttl=60.0,
        )
        for number in range(count)
    ]
    await stores.park(run, *rows)
    reads = Reads(stores.approvals)
    servicer, request = ApprovalServicer(cast(Any, reads), *[cast(Any, None)] * 2), pb.ListApprovalsRequest()
    page = await servicer.ListApprovals(request, None)
    assert len(page.approvals) == FITTING
    assert reads.rows <= approval_service.BATCH_APPROVALS
    found: list[str] = []
    while True:
        found += [approval.approval_id for approval in page.approvals]
        if not page.next_page_token:
            break
        page = await servicer.ListApprovals(pb.ListApprovalsRequest(page_token=page.next_page_token), None)
    assert found == [f"apr_{number:02}" for number in range(count)]
