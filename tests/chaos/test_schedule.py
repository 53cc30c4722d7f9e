"""The plan of a trial: pure, by its seed."""

from itertools import pairwise

from graphmesh_chaos.schedule import LEAD, START_UP, Act, Fault, Plan, plan
from graphmesh_chaos.storm import storm
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from hypothesis import given
from hypothesis import strategies as st

SERVICES = {"billing", "ticketing", "envoy"}
seeds = st.integers(min_value=0, max_value=1_000_000)


def made(seed: int, orchestrators: int = 1) -> Plan:
    return plan(seed, runs=40, seconds=30, faults=12, orchestrators=orchestrators)


@given(seeds)
def test_a_seed_is_a_plan(seed: int) -> None:
    """The same seed gives the same faults and runs; another one gives others."""
    assert made(seed) == made(seed)
    assert made(seed) != made(seed + 1)


@given(seeds)
def test_as_many_as_asked_for_in_the_order_of_time(seed: int) -> None:
    """Every run is there once, and nothing is before the start."""
    planned = made(seed)
    assert len(planned.faults) == 12
    assert sorted(one.number for one in planned.submissions) == list(range(40))
    assert list(planned.faults) == sorted(planned.faults)
    assert list(planned.submissions) == sorted(planned.submissions)
    assert min(planned.faults[0].at, planned.submissions[0].at) >= 0


@given(seeds, st.integers(min_value=1, max_value=3))
def test_a_process_has_recovered_before_its_next_fault(seed: int, orchestrators: int) -> None:
    """Faults of one process do not overlap, those of several may."""
    faults: dict[str, list[Fault]] = {}
    for fault in made(seed, orchestrators).faults:
        faults.setdefault(fault.target, []).append(fault)
    for of_target in faults.values():
        for fault, following in pairwise(of_target):
            assert following.at >= fault.at + fault.seconds + START_UP - 0.01


@given(seeds)
def test_runs_are_under_way_when_it_strikes(seed: int) -> None:
    """Every fault has runs that begin shortly before it."""
    planned = made(seed)
    for fault in planned.faults:
        assert any(0 <= fault.at - one.at <= LEAD + 0.01 for one in planned.submissions)


@given(seeds)
def test_a_frozen_orchestrator_outlives_its_lease(seed: int) -> None:
    """When it goes on, its runs are free for others."""
    for fault in made(seed).faults:
        if fault.target == "orchestrator" and fault.act is Act.FREEZE:
            assert fault.seconds > LEASE_SECONDS


def test_every_orchestrator_is_struck() -> None:
    """The processes have the names that the mesh gives its replicas."""
    targets = {fault.target for seed in range(20) for fault in made(seed, orchestrators=2).faults}
    assert targets == {"orchestrator-1", "orchestrator-2", "billing", "ticketing", "envoy", "postgres", "redis"}


def test_without_faults_there_are_runs() -> None:
    """A trial of nothing is a trial of the checker."""
    assert len(plan(1, runs=5, seconds=10, faults=0).submissions) == 5


@given(seeds)
def test_a_storm_is_deaths_of_all_while_runs_are_asked_for(seed: int) -> None:
    """The same seed gives the same one; at no time are runs missing for long."""
    made = storm(seed, runs=60, seconds=20, faults=200, orchestrators=3)
    assert made == storm(seed, runs=60, seconds=20, faults=200, orchestrators=3)
    assert made != storm(seed + 1, runs=60, seconds=20, faults=200, orchestrators=3)
    assert [fault.act for fault in made.faults] == [Act.KILL] * 200
    assert {fault.target for fault in made.faults} == {*(f"orchestrator-{n}" for n in (1, 2, 3)), *SERVICES}
    moments = [0.0, *(one.at for one in made.submissions), 20.0]
    assert max(after - before for before, after in pairwise(moments)) <= 2 * 20 / 60
