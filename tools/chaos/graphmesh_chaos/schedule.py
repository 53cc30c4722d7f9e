"""Schedules of faults and runs: pure functions of a seed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from random import Random

from graphmesh_orchestrator.db.clock import LEASE_SECONDS

from graphmesh_chaos.sessions import Session

RESTART_SECONDS = 4.0
"""Least time between the end of a fault and the next fault of the same process."""
LEAD_SECONDS = 0.25
"""Runs are submitted at most this long before the fault that they are to meet."""
PATIENCE_SECONDS = 60.0
LATENESS = 5.0
"""The factor by which faults may be late on a machine under load."""
POSTGRES = "postgres"
"""The target of a fault of the database server."""
DISK = "disk"
"""The target of a fault of the disk that has the databases."""
DUPLICATE_SHARE = 0.25
"""The share of runs that are submitted twice at once, as an impatient client does."""


class FaultKind(StrEnum):
    """A fault of one process, or of one link between two."""

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
    FULL_DISK = "full-disk"
    """The disk of the databases has no free space."""
    SLOW_DISK = "slow-disk"
    """Commits of PostgreSQL take up to two seconds."""
    FAILOVER = "failover"
    """The machine of PostgreSQL dies, and `Fault.seconds` later its standby is promoted and gets its address."""
    PARTITION = "partition"
    """No byte passes a link, and no new connection is made; those that are open stay open."""
    PARTITION_TO_SERVER = "partition-to"
    """The same for the bytes from the client to the server only: responses still pass."""
    PARTITION_TO_CLIENT = "partition-from"
    """The same for the bytes from the server to the client only: requests still arrive."""
    HALF_DEAD = "half-dead"
    """The open connections of a link never pass a byte again, and neither do those that are made meanwhile."""
    DRIP = "drip"
    """A link passes a few bytes a second."""
    SLOW = "slow"
    """A link has a high latency and a low bandwidth."""
    LOSS = "loss"
    """A link loses a share of its segments, which TCP sends again later."""


SEPARATING = (FaultKind.PARTITION, FaultKind.PARTITION_TO_SERVER, FaultKind.PARTITION_TO_CLIENT)
DELAYING = (FaultKind.DRIP, FaultKind.SLOW, FaultKind.LOSS)
CUTTING_OFF = (*SEPARATING, FaultKind.HALF_DEAD)
NETWORK = (*CUTTING_OFF, *DELAYING)
"""The kinds whose targets are links: those that separate two processes, and all."""
SHORT, LONG = (0.3, 2.0), (LEASE_SECONDS + 0.5, LEASE_SECONDS + 3)
"""Seconds of a fault that is over before a lease is, and of one that is not."""


@dataclass(frozen=True)
class FaultProfile:
    """A fault that the processes of a role can meet, or the links between two roles: `orchestrator/postgres`."""

    role: str
    kind: FaultKind
    seconds: tuple[float, float]
    """The range of its duration."""
    weight: float
    """Its relative frequency."""


def network_profiles(*roles: str) -> tuple[FaultProfile, ...]:
    """The faults of links: those that separate their processes, and those that delay them."""
    times = {
        **dict.fromkeys(SEPARATING, (SHORT, LONG)),
        FaultKind.HALF_DEAD: (LONG,),
        **dict.fromkeys(DELAYING, ((1.0, 6.0),)),
    }
    return tuple(
        FaultProfile(role, kind, seconds, weight=0.25) for role in roles for kind in NETWORK for seconds in times[kind]
    )


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
    *network_profiles("orchestrator/envoy", "envoy/orchestrator", "envoy/billing", "envoy/ticketing"),
)
SHARED_PROFILES = (
    *PROFILES,
    FaultProfile("orchestrator", FaultKind.DROP_CONNECTIONS, (0, 0), weight=2),
    FaultProfile(POSTGRES, FaultKind.CRASH, (0, 0), weight=2),
    FaultProfile("redis", FaultKind.KILL, (0.1, 2), weight=1),
    *network_profiles("orchestrator/postgres", "orchestrator/redis", "billing/postgres", "ticketing/postgres"),
)
"""For several orchestrators that share a PostgreSQL and a Redis."""


@dataclass(frozen=True, order=True)
class Fault:
    """A scheduled fault of one process, or of one link."""

    at: float
    """Seconds after the start."""
    target: str
    """The name of the process in the mesh, or of the link: `orchestrator-2`, `orchestrator-2/postgres`."""
    kind: FaultKind
    seconds: float
    """Time until the process is restarted or continued, or the link is as before."""
    delay_at_work: float | None = None
    """Seconds between the first work that the process is seen to do and the fault, more on a machine on which the
    process starts slowly; None: it may be idle."""


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
    sessions: Sequence[Session] = ()

    @property
    def patience(self) -> float:
        """Seconds for which clients of sessions repeat a call: a machine under load is late with the faults.

        A run whose client gives up earlier waits for its answer or its cancellation without end.
        """
        return PATIENCE_SECONDS + LATENESS * max((fault.at for fault in self.faults), default=0)

    @property
    def links(self) -> frozenset[str]:
        """The names of the links that have faults."""
        return frozenset(fault.target for fault in self.faults if fault.kind in NETWORK)


def mixed_schedule(
    seed: int,
    *,
    runs: int,
    seconds: float,
    faults: int,
    orchestrators: int = 1,
    kinds: Collection[FaultKind] = tuple(FaultKind),
) -> Schedule:
    """`faults` of the `kinds` within about `seconds`, and `runs` that are in flight when they happen.

    Several orchestrators share a PostgreSQL and a Redis, which have faults too.

    Raises:
        ValueError: a mesh with so many orchestrators has no fault of these kinds.
    """
    shared_or_not = SHARED_PROFILES if orchestrators > 1 else PROFILES
    profiles = [profile for profile in shared_or_not if profile.kind in kinds]
    if not profiles:
        raise ValueError(f"this mesh has no faults of the kinds {', '.join(kinds)}")
    injected = sorted(_faults(Random(f"faults {seed}"), profiles, faults, seconds, orchestrators))
    moments = [fault.at for fault in injected] or [seconds / 2]
    return Schedule(injected, sorted(random_submissions(Random(f"runs {seed}"), runs, moments)))


def _faults(
    random: Random, profiles: Sequence[FaultProfile], count: int, seconds: float, orchestrators: int
) -> Iterator[Fault]:
    recovered: dict[str, float] = {}
    for at in sorted(random.uniform(LEAD_SECONDS, seconds) for _ in range(count)):
        [profile] = random.choices(profiles, [profile.weight for profile in profiles])
        target = random.choice(targets_of(profile.role, orchestrators))
        duration = round(random.uniform(*profile.seconds), 2)
        begins = round(max(at, recovered.get(target, 0)), 2)
        recovered[target] = begins + duration + RESTART_SECONDS
        yield Fault(begins, target, profile.kind, duration)


def targets_of(role: str, orchestrators: int) -> list[str]:
    """The names of a role's processes, or of the links between those of two roles."""
    return ["/".join(ends) for ends in product(*(processes_of(end, orchestrators) for end in role.split("/")))]


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
