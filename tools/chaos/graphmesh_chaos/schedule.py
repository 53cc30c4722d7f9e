"""Schedules of faults and runs: pure functions of a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from graphmesh_orchestrator.db.clock import LEASE_SECONDS

RESTART_SECONDS = 4.0
"""Least time between the end of a fault and the next fault of the same process."""
LEAD_SECONDS = 0.25
"""Runs are submitted at most this long before the fault that they are to meet."""
POSTGRES = "postgres"
"""The target of a fault of the database server."""
DUPLICATE_SHARE = 0.25
"""The share of runs that are submitted twice at once, as an impatient client does."""


class FaultKind(StrEnum):
    """A fault of one process."""

    KILL = "SIGKILL"
    """The process dies at once, and is restarted."""
    FREEZE = "SIGSTOP"
    """The process is paused, with its connections open, and then continued."""
    TERMINATE = "SIGTERM"
    """The process shuts down gracefully, and is restarted, as in a rolling restart."""
    DROP_CONNECTIONS = "drop"
    """PostgreSQL closes all connections of the process, and accepts new ones at once."""
    CRASH = "crash"
    """PostgreSQL loses one of its processes, closes all connections and recovers by itself."""
    CLOCK = "clock"
    """The wall clock of the process is set to the machine's plus `Fault.seconds`, and stays so until the next jump."""


@dataclass(frozen=True)
class FaultProfile:
    """A fault that the processes of a role can meet."""

    role: str
    kind: FaultKind
    seconds: tuple[float, float]
    """The range of its duration."""
    weight: int
    """Its relative frequency."""


PROFILES = (
    FaultProfile("orchestrator", FaultKind.KILL, (0.1, 3), weight=4),
    FaultProfile("orchestrator", FaultKind.FREEZE, (LEASE_SECONDS + 1, LEASE_SECONDS + 3), weight=1),
    FaultProfile("billing", FaultKind.KILL, (0.1, 3), weight=2),
    FaultProfile("billing", FaultKind.FREEZE, (0.5, 6), weight=1),
    FaultProfile("ticketing", FaultKind.KILL, (0.1, 3), weight=2),
    FaultProfile("ticketing", FaultKind.FREEZE, (0.5, 6), weight=1),
    FaultProfile("envoy", FaultKind.KILL, (0.1, 2), weight=1),
    FaultProfile("orchestrator", FaultKind.TERMINATE, (0.1, 1), weight=2),
    FaultProfile("billing", FaultKind.TERMINATE, (0.1, 1), weight=1),
)
SHARED_PROFILES = (
    *PROFILES,
    FaultProfile("orchestrator", FaultKind.DROP_CONNECTIONS, (0, 0), weight=2),
    FaultProfile(POSTGRES, FaultKind.CRASH, (0, 0), weight=2),
    FaultProfile("redis", FaultKind.KILL, (0.1, 2), weight=1),
)
"""For several orchestrators that share a PostgreSQL and a Redis."""


@dataclass(frozen=True, order=True)
class Fault:
    """A scheduled fault of one process."""

    at: float
    """Seconds after the start."""
    target: str
    """The name of the process in the mesh: `billing`, `orchestrator-2`."""
    kind: FaultKind
    seconds: float
    """Time until the process is restarted or continued."""
    delay_at_work: float | None = None
    """Seconds between the first work that the process is seen to do and the fault; None: it may be idle."""


@dataclass(frozen=True, order=True)
class Submission:
    """A scheduled run."""

    at: float
    """Seconds after the start."""
    number: int
    amount: int
    """The amount of its charge, in minor units."""
    copies: int
    """The number of concurrent requests for it, all with one request_id."""


@dataclass(frozen=True)
class Schedule:
    """All faults and runs of an experiment, each in the order of time."""

    faults: Sequence[Fault]
    submissions: Sequence[Submission]


def mixed_schedule(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 1) -> Schedule:
    """`faults` of all kinds within about `seconds`, and `runs` that are in flight when they happen.

    Several orchestrators share a PostgreSQL and a Redis, which have faults too.
    """
    injected = sorted(_faults(Random(f"faults {seed}"), faults, seconds, orchestrators))
    moments = [fault.at for fault in injected] or [seconds / 2]
    return Schedule(injected, sorted(random_submissions(Random(f"runs {seed}"), runs, moments)))


def _faults(random: Random, count: int, seconds: float, orchestrators: int) -> Iterator[Fault]:
    profiles = SHARED_PROFILES if orchestrators > 1 else PROFILES
    recovered: dict[str, float] = {}
    for at in sorted(random.uniform(LEAD_SECONDS, seconds) for _ in range(count)):
        [profile] = random.choices(profiles, [profile.weight for profile in profiles])
        target = random.choice(processes_of(profile.role, orchestrators))
        duration = round(random.uniform(*profile.seconds), 2)
        begins = round(max(at, recovered.get(target, 0)), 2)
        recovered[target] = begins + duration + RESTART_SECONDS
        yield Fault(begins, target, profile.kind, duration)


def processes_of(role: str, orchestrators: int) -> list[str]:
    """The names of a role's processes in a mesh with that many orchestrators."""
    if role != "orchestrator" or orchestrators == 1:
        return [role]
    return [f"{role}-{number}" for number in range(1, orchestrators + 1)]


def random_submissions(random: Random, count: int, moments: Sequence[float]) -> Iterator[Submission]:
    """A burst before each of the `moments`: a fault of an idle mesh proves nothing."""
    for number in range(count):
        at = max(0.0, moments[number % len(moments)] - random.uniform(0, LEAD_SECONDS))
        yield random_submission(random, at, number)


def random_submission(random: Random, at: float, number: int) -> Submission:
    copies = 2 if random.random() < DUPLICATE_SHARE else 1
    return Submission(round(at, 3), number, random.randint(1, 100_00), copies)
