"""Feedback in every store: one of each caller, at any time of the run, for its tenant alone."""

from datetime import timedelta

import pytest
from graphmesh_chassis.errors import NotFound
from graphmesh_orchestrator.errors import ResourceLimit
from graphmesh_orchestrator.runs.feedback import MAX_CALLERS, Feedback

from tests.contract.orchestrator.stores import NOW, TENANT, WORKER, Stores
from tests.contract.runs import a_run


def given(subject: str = "ann", score: float = 1, comment: str = "", minutes: int = 0) -> Feedback:
    return Feedback(subject, score, comment, NOW + timedelta(minutes=minutes))


async def test_is_kept_of_each_caller_in_order(stores: Stores) -> None:
    await stores.runs.add(a_run("run_1"), WORKER)
    await stores.feedbacks.record(TENANT, "run_1", given("ann", 0.5, "slow"))
    await stores.end("run_1")
    await stores.feedbacks.record(TENANT, "run_1", given("bob", minutes=1))
    assert await stores.feedbacks.of_run("run_1") == [given("ann", 0.5, "slow"), given("bob", minutes=1)]


async def test_a_later_one_replaces_the_callers_own(stores: Stores) -> None:
    await stores.runs.add(a_run("run_1"), WORKER)
    await stores.feedbacks.record(TENANT, "run_1", given(score=0))
    assert await stores.feedbacks.record(TENANT, "run_1", given(minutes=1)) == given(minutes=1)
    assert await stores.feedbacks.of_run("run_1") == [given(minutes=1)]


async def test_a_repeat_changes_nothing(stores: Stores) -> None:
    await stores.runs.add(a_run("run_1"), WORKER)
    await stores.feedbacks.record(TENANT, "run_1", given())
    assert await stores.feedbacks.record(TENANT, "run_1", given(minutes=1)) == given()


async def test_a_run_of_another_tenant_is_not_found(stores: Stores) -> None:
    await stores.runs.add(a_run("run_1"), WORKER)
    with pytest.raises(NotFound):
        await stores.feedbacks.record("other", "run_1", given())
    assert await stores.feedbacks.of_run("run_1") == []


async def test_callers_of_a_run_are_bounded(stores: Stores) -> None:
    """Who has a feedback may replace it still."""
    await stores.runs.add(a_run("run_1"), WORKER)
    for number in range(MAX_CALLERS):
        await stores.feedbacks.record(TENANT, "run_1", given(f"caller_{number}"))
    with pytest.raises(ResourceLimit, match="the feedback of 100 callers"):
        await stores.feedbacks.record(TENANT, "run_1", given())
    await stores.feedbacks.record(TENANT, "run_1", given("caller_0", 0))


async def test_is_deleted_with_its_run(stores: Stores) -> None:
    await stores.runs.add(a_run("run_1"), WORKER)
    await stores.feedbacks.record(TENANT, "run_1", given())
    await stores.end("run_1", ended=NOW)
    await stores.deletion.delete_runs(NOW + timedelta(days=1))
    assert await stores.feedbacks.of_run("run_1") == []
