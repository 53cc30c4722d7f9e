"""Schedules in which clocks jump, while processes die and freeze: a takeover compares the clocks of two workers."""

from collections.abc import Iterator
from random import Random

from graphmesh_orchestrator.db.clock import LEASE_SECONDS

from graphmesh_chaos.schedule import (
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

MAX_SHIFT = 6 * 3600.0
"""The largest difference from the machine's clock, in seconds, either way."""
PROFILES = (
    FaultProfile("orchestrator", FaultKind.CLOCK, (-MAX_SHIFT, MAX_SHIFT), weight=6),
    FaultProfile("billing", FaultKind.CLOCK, (-MAX_SHIFT, MAX_SHIFT), weight=1),
    FaultProfile("ticketing", FaultKind.CLOCK, (-MAX_SHIFT, MAX_SHIFT), weight=1),
    FaultProfile("orchestrator", FaultKind.KILL, (0.1, 2), weight=2),
    FaultProfile("orchestrator", FaultKind.FREEZE, (LEASE_SECONDS + 1, LEASE_SECONDS + 3), weight=2),
    FaultProfile("billing", FaultKind.KILL, (0.1, 2), weight=1),
    FaultProfile("orchestrator", FaultKind.TERMINATE, (0.1, 1), weight=1),
)
SHARED_PROFILES = (
    *PROFILES,
    FaultProfile(POSTGRES, FaultKind.CLOCK, (-MAX_SHIFT, MAX_SHIFT), weight=4),
)
"""For several orchestrators that share a PostgreSQL."""


def clock_schedule(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 1) -> Schedule:
    """`faults` within about `seconds`, most of them jumps, and `runs` that are in flight when they happen."""
    injected = sorted(_faults(Random(f"clocks {seed}"), faults, seconds, orchestrators))
    moments = [fault.at for fault in injected] or [seconds / 2]
    return Schedule(injected, sorted(random_submissions(Random(f"runs {seed}"), runs, moments)))


def _faults(random: Random, count: int, seconds: float, orchestrators: int) -> Iterator[Fault]:
    profiles = SHARED_PROFILES if orchestrators > 1 else PROFILES
    free_at: dict[str, float] = {}
    for at in sorted(random.uniform(LEAD_SECONDS, seconds) for _ in range(count)):
        [profile] = random.choices(profiles, [profile.weight for profile in profiles])
        target = random.choice(processes_of(profile.role, orchestrators))
        value = round(random.uniform(*profile.seconds), 2)
        begins = round(max(at, free_at.get(target, 0)), 2)
        free_at[target] = begins + (0 if profile.kind is FaultKind.CLOCK else value + RESTART_SECONDS)
        yield Fault(begins, target, profile.kind, value)
