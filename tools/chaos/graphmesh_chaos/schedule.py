"""What befalls a mesh, and what is asked of it meanwhile: a pure function of a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from graphmesh_orchestrator.db.clock import LEASE_SECONDS

START_UP = 4.0
"""Seconds that a process is given after a fault before its next one."""
LEAD = 0.25
"""Runs are begun at most so many seconds before the fault that is to hit them."""
REPEATED = 0.25
"""The share of runs that are asked for twice at once, as impatient clients do."""


class Act(StrEnum):
    """What is done to a process."""

    KILL = "SIGKILL"
    """It dies without a word, and is started again."""
    FREEZE = "SIGSTOP"
    """It keeps its connections and does nothing, and then goes on as if nothing had been."""
    STOP = "SIGTERM"
    """It is asked to end, gives back what it has, and is started again, as in a rolling restart."""
    DROP = "drop"
    """PostgreSQL drops all its connections, and takes new ones at once."""
    CRASH = "crash"
    """PostgreSQL drops all its connections and recovers by itself."""


@dataclass(frozen=True)
class Kind:
    """One way to harm one role."""

    role: str
    act: Act
    seconds: tuple[float, float]
    weight: int
    """How often it is taken, beside the others."""


KINDS = (
    Kind("orchestrator", Act.KILL, (0.1, 3), weight=4),
    Kind("orchestrator", Act.FREEZE, (LEASE_SECONDS + 1, LEASE_SECONDS + 3), weight=1),
    Kind("billing", Act.KILL, (0.1, 3), weight=2),
    Kind("billing", Act.FREEZE, (0.5, 6), weight=1),
    Kind("ticketing", Act.KILL, (0.1, 3), weight=2),
    Kind("ticketing", Act.FREEZE, (0.5, 6), weight=1),
    Kind("envoy", Act.KILL, (0.1, 2), weight=1),
    Kind("orchestrator", Act.STOP, (0.1, 1), weight=2),
    Kind("billing", Act.STOP, (0.1, 1), weight=1),
)
SHARING = (
    *KINDS,
    Kind("orchestrator", Act.DROP, (0, 0), weight=2),
    Kind("postgres", Act.CRASH, (0, 0), weight=2),
    Kind("redis", Act.KILL, (0.1, 2), weight=1),
)
"""Where several orchestrators share a PostgreSQL and a Redis."""


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that befalls one process."""

    at: float
    """Seconds after the start."""
    target: str
    """The process, by its name in the mesh: `billing`, `orchestrator-2`."""
    act: Act
    seconds: float
    """Until it is started again, or goes on."""
    after: float | None = None
    """Seconds for which it must have worked, once it was ready; None: none, it may be idle."""


@dataclass(frozen=True, order=True)
class Submission:
    """One run that is asked for."""

    at: float
    """Seconds after the start."""
    number: int
    amount: int
    """What it charges, in minor units."""
    copies: int
    """How often it is asked for, with one request_id."""


@dataclass(frozen=True)
class Plan:
    """All of a trial, in the order of time."""

    faults: Sequence[Fault]
    submissions: Sequence[Submission]


def plan(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 1) -> Plan:
    """The plan of a seed: `faults` within about `seconds`, and `runs` that are under way when they strike.

    Several orchestrators share a PostgreSQL and a Redis, which are struck too.
    """
    struck = sorted(_faults(Random(f"faults {seed}"), faults, seconds, orchestrators))
    moments = [fault.at for fault in struck] or [seconds / 2]
    return Plan(struck, sorted(_submissions(Random(f"runs {seed}"), runs, moments)))


def _faults(random: Random, count: int, seconds: float, orchestrators: int) -> Iterator[Fault]:
    kinds = SHARING if orchestrators > 1 else KINDS
    free: dict[str, float] = {}
    for at in sorted(random.uniform(LEAD, seconds) for _ in range(count)):
        [kind] = random.choices(kinds, [kind.weight for kind in kinds])
        target = random.choice(processes(kind.role, orchestrators))
        length = round(random.uniform(*kind.seconds), 2)
        begins = round(max(at, free.get(target, 0)), 2)
        free[target] = begins + length + START_UP
        yield Fault(begins, target, kind.act, length)


def processes(role: str, orchestrators: int) -> list[str]:
    """The names of a role's processes in a mesh with so many orchestrators."""
    if role != "orchestrator" or orchestrators == 1:
        return [role]
    return [f"{role}-{number}" for number in range(1, orchestrators + 1)]


def _submissions(random: Random, count: int, moments: Sequence[float]) -> Iterator[Submission]:
    """A burst before each of the `moments`: what strikes an idle mesh proves nothing."""
    for number in range(count):
        yield submission(random, max(0.0, moments[number % len(moments)] - random.uniform(0, LEAD)), number)


def submission(random: Random, at: float, number: int) -> Submission:
    copies = 2 if random.random() < REPEATED else 1
    return Submission(round(at, 3), number, random.randint(1, 100_00), copies)
