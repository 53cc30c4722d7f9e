"""Schedules in which the environment of a mesh is at fault, while processes die and freeze."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from random import Random

from graphmesh_orchestrator.db.clock import LEASE_SECONDS

from graphmesh_chaos.schedule import (
    DISK,
    LEAD_SECONDS,
    POSTGRES,
    RESTART_SECONDS,
    Fault,
    FaultKind,
    FaultProfile,
    Schedule,
    processes_of,
    random_submissions,
)


class EnvironmentFault(StrEnum):
    """A fault of a mesh's environment."""

    CLOCKS = "clocks"
    FULL_DISK = "full-disk"
    SLOW_DISK = "slow-disk"
    STANDBY = "standby"


SHIFTS = (-6 * 3600.0, 6 * 3600.0)
"""The differences of clocks from the machine's, in seconds."""
DATABASE_SHIFTS = (-3600.0, 3600.0)
"""The same of the database's clock, to which deadlines apply: two of them differ by less than a run's time."""
DEATHS = (
    FaultProfile("orchestrator", FaultKind.KILL, (0.1, 2), weight=2),
    FaultProfile("orchestrator", FaultKind.FREEZE, (LEASE_SECONDS + 1, LEASE_SECONDS + 3), weight=2),
    FaultProfile("billing", FaultKind.KILL, (0.1, 2), weight=1),
    FaultProfile("orchestrator", FaultKind.TERMINATE, (0.1, 1), weight=1),
)
CLOCKS = (
    FaultProfile("orchestrator", FaultKind.CLOCK, SHIFTS, weight=6),
    FaultProfile("billing", FaultKind.CLOCK, SHIFTS, weight=1),
    FaultProfile("ticketing", FaultKind.CLOCK, SHIFTS, weight=1),
    *DEATHS,
)
"""A takeover compares the clocks of two workers, so that deaths are among the faults."""
SQLITE_CLOCKS = (FaultProfile("orchestrator", FaultKind.CLOCK, DATABASE_SHIFTS, weight=6), *CLOCKS)
"""The clock of SQLite is that of its only process."""
POSTGRES_CLOCKS = (
    FaultProfile("orchestrator", FaultKind.CLOCK, SHIFTS, weight=6),
    *CLOCKS,
    FaultProfile(POSTGRES, FaultKind.CLOCK, DATABASE_SHIFTS, weight=4),
)
DISKS = (FaultProfile(DISK, FaultKind.FULL_DISK, (2, 8), weight=6), *DEATHS)
SLOW_DISKS = (FaultProfile(DISK, FaultKind.SLOW_DISK, (4, 12), weight=6), *DEATHS)
FAILOVERS = (FaultProfile(POSTGRES, FaultKind.FAILOVER, (0.5, 4), weight=6), *DEATHS)


def clock_schedule(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 1) -> Schedule:
    """`faults` within about `seconds`, most of them jumps, and `runs` that are in flight when they happen."""
    profiles = POSTGRES_CLOCKS if orchestrators > 1 else SQLITE_CLOCKS
    return _schedule("clocks", profiles, seed, runs, seconds, faults, orchestrators)


def disk_schedule(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 1) -> Schedule:
    """`faults` within about `seconds`, most of them a full disk, and `runs` that are in flight when they happen."""
    return _schedule("disks", DISKS, seed, runs, seconds, faults, orchestrators)


def slow_disk_schedule(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 2) -> Schedule:
    """`faults` within about `seconds`, most of them a slow disk, and `runs` that are in flight when they happen."""
    return _schedule("slow disks", SLOW_DISKS, seed, runs, seconds, faults, orchestrators)


def failover_schedule(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 2) -> Schedule:
    """`faults` within about `seconds`, most of them failovers, and `runs` that are in flight when they happen."""
    return _schedule("failovers", FAILOVERS, seed, runs, seconds, faults, orchestrators)


SCHEDULES: Mapping[EnvironmentFault, Callable[..., Schedule]] = {
    EnvironmentFault.CLOCKS: clock_schedule,
    EnvironmentFault.FULL_DISK: disk_schedule,
    EnvironmentFault.SLOW_DISK: slow_disk_schedule,
    EnvironmentFault.STANDBY: failover_schedule,
}
"""The schedule of each fault."""


def _schedule(
    name: str,
    profiles: Sequence[FaultProfile],
    seed: int,
    runs: int,
    seconds: float,
    faults: int,
    orchestrators: int,
) -> Schedule:
    injected = sorted(_faults(Random(f"{name} {seed}"), profiles, faults, seconds, orchestrators))
    moments = [fault.at for fault in injected] or [seconds / 2]
    return Schedule(injected, sorted(random_submissions(Random(f"runs {seed}"), runs, moments)))


def _faults(
    random: Random, profiles: Sequence[FaultProfile], count: int, seconds: float, orchestrators: int
) -> Iterator[Fault]:
    free_at: dict[str, float] = {}
    for at in sorted(random.uniform(LEAD_SECONDS, seconds) for _ in range(count)):
        [profile] = random.choices(profiles, [profile.weight for profile in profiles])
        target = random.choice(processes_of(profile.role, orchestrators))
        value = round(random.uniform(*profile.seconds), 2)
        begins = round(max(at, free_at.get(target, 0)), 2)
        free_at[target] = begins + (0 if profile.kind is FaultKind.CLOCK else value + RESTART_SECONDS)
        yield Fault(begins, target, profile.kind, value)
