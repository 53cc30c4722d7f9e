"""Schedules are pure functions of a seed."""

from itertools import pairwise, product

import pytest
from graphmesh_chaos.kill_schedule import kill_schedule
from graphmesh_chaos.schedule import LEAD_SECONDS, NETWORK, RESTART_SECONDS, Fault, FaultKind, Schedule, mixed_schedule
from graphmesh_orchestrator.db.clock import LEASE_SECONDS
from hypothesis import given
from hypothesis import strategies as st

SERVICES = {"billing", "ticketing", "envoy"}
seeds = st.integers(min_value=0, max_value=1_000_000)


def mixed(seed: int, orchestrators: int = 1) -> Schedule:
    return mixed_schedule(seed, runs=40, seconds=30, faults=12, orchestrators=orchestrators)


def kills(seed: int) -> Schedule:
    return kill_schedule(seed, runs=60, seconds=20, faults=200, orchestrators=3)


@given(seeds)
def test_same_seed_gives_same_schedule(seed: int) -> None:
    """Another seed gives another."""
    assert mixed(seed) == mixed(seed)
    assert mixed(seed) != mixed(seed + 1)


@given(seeds)
def test_has_the_given_numbers_in_the_order_of_time(seed: int) -> None:
    """Every run is submitted once, and nothing happens before the start."""
    schedule = mixed(seed)
    assert len(schedule.faults) == 12
    assert sorted(one.number for one in schedule.submissions) == list(range(40))
    assert list(schedule.faults) == sorted(schedule.faults)
    assert list(schedule.submissions) == sorted(schedule.submissions)
    assert min(schedule.faults[0].at, schedule.submissions[0].at) >= 0


@given(seeds, st.integers(min_value=1, max_value=3))
def test_process_recovers_before_its_next_fault(seed: int, orchestrators: int) -> None:
    """Faults of one process do not overlap, those of several may."""
    faults: dict[str, list[Fault]] = {}
    for fault in mixed(seed, orchestrators).faults:
        faults.setdefault(fault.target, []).append(fault)
    for of_target in faults.values():
        for fault, following in pairwise(of_target):
            assert following.at >= fault.at + fault.seconds + RESTART_SECONDS - 0.01


@given(seeds)
def test_runs_are_in_flight_at_every_fault(seed: int) -> None:
    """Runs are submitted shortly before it."""
    schedule = mixed(seed)
    for fault in schedule.faults:
        assert any(0 <= fault.at - one.at <= LEAD_SECONDS + 0.01 for one in schedule.submissions)


@given(seeds)
def test_orchestrator_is_frozen_for_longer_than_its_lease(seed: int) -> None:
    """When it continues, other workers may have claimed its runs."""
    for fault in mixed(seed).faults:
        if fault.target == "orchestrator" and fault.kind is FaultKind.FREEZE:
            assert fault.seconds > LEASE_SECONDS


def test_every_process_has_faults() -> None:
    """The targets have the names that the mesh gives its replicas; those of links have the names of both ends."""
    targets = {fault.target for seed in range(50) for fault in mixed(seed, orchestrators=2).faults}
    orchestrators = {"orchestrator-1", "orchestrator-2"}
    processes = {*orchestrators, "billing", "ticketing", "envoy", "postgres", "redis"}
    links = {f"{one}/{server}" for one in orchestrators for server in ("postgres", "redis", "envoy")}
    links |= {f"envoy/{one}" for one in (*orchestrators, "billing", "ticketing")}
    assert targets == processes | links | {"billing/postgres", "ticketing/postgres"}


def test_every_link_has_faults_of_every_kind() -> None:
    """Those that separate its ends are over before a lease is, or last longer."""
    schedules = [mixed_schedule(seed, runs=1, seconds=60, faults=50, orchestrators=2) for seed in range(100)]
    faults = [fault for schedule in schedules for fault in schedule.faults if "/" in fault.target]
    assert {(fault.target, fault.kind) for fault in faults} == set(product({fault.target for fault in faults}, NETWORK))
    assert {fault.seconds < LEASE_SECONDS for fault in faults if fault.kind is FaultKind.PARTITION} == {True, False}
    assert all(schedule.links == {one.target for one in schedule.faults if "/" in one.target} for schedule in schedules)


def test_injects_only_the_given_kinds() -> None:
    """One of a mesh that has no such fault cannot be given alone."""
    kinds = (FaultKind.SLOW, FaultKind.CRASH)
    schedule = mixed_schedule(1, runs=1, seconds=60, faults=50, orchestrators=2, kinds=kinds)
    assert {fault.kind for fault in schedule.faults} == set(kinds)
    with pytest.raises(ValueError, match="crash"):
        mixed_schedule(1, runs=1, seconds=60, faults=50, orchestrators=1, kinds=[FaultKind.CRASH])


def test_has_runs_without_faults() -> None:
    """An experiment without faults tests the checker."""
    assert len(mixed_schedule(1, runs=5, seconds=10, faults=0).submissions) == 5


@given(seeds)
def test_kill_schedule_kills_every_process_under_steady_load(seed: int) -> None:
    """The same seed gives the same schedule; no long time is without a submission."""
    schedule = kills(seed)
    assert schedule == kills(seed)
    assert schedule != kills(seed + 1)
    assert [fault.kind for fault in schedule.faults] == [FaultKind.KILL] * 200
    assert {fault.target for fault in schedule.faults} == {*(f"orchestrator-{n}" for n in (1, 2, 3)), *SERVICES}
    moments = [0.0, *(one.at for one in schedule.submissions), 20.0]
    assert max(after - before for before, after in pairwise(moments)) <= 2 * 20 / 60
