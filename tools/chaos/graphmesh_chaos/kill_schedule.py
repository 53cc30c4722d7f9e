"""A schedule of kills only, so frequent that most processes have just been restarted when they are killed again."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from graphmesh_chaos.schedule import Fault, FaultKind, Schedule, processes_of, random_submission

POLICY = {"breaker": {"consecutiveFailures": 1000}}
"""The policy of the services: a breaker would keep all calls away from processes that die all the time."""
SETTINGS = {"GRAPHMESH_ORCHESTRATOR_CAPACITY": "4", "GRAPHMESH_ORCHESTRATOR_MAX_TAKEOVERS": "1000"}
"""Environment variables of the servers: a kill proves as much with a few runs, and they recover sooner. The kills come
so fast that a run is taken over several times in one superstep, which is not its own doing."""
MAX_DOWN_SECONDS = 0.3
"""Longest time until a killed process is restarted."""


@dataclass(frozen=True)
class KillProfile:
    """The kills of a role's processes."""

    weight: int
    """Their relative frequency."""
    max_delay_at_work: float
    """Longest time that a process works before it is killed, in seconds."""


PROFILES = {
    "orchestrator": KillProfile(2, 0.4),
    "billing": KillProfile(5, 0.01),
    "ticketing": KillProfile(5, 0.01),
    "envoy": KillProfile(1, 0.2),
}


def kill_schedule(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 1) -> Schedule:
    """`faults` at random moments within about `seconds`, and `runs` at a steady rate.

    A kill waits until the process runs and, for a short time, until it has work to interrupt, so it may take longer.
    """
    random = Random(f"storm {seed}")
    step = seconds / runs
    submissions = [random_submission(random, (number + random.random()) * step, number) for number in range(runs)]
    return Schedule(sorted(_kills(random, faults, seconds, orchestrators)), submissions)


def _kills(random: Random, count: int, seconds: float, orchestrators: int) -> Iterator[Fault]:
    profiles = {name: profile for role, profile in PROFILES.items() for name in processes_of(role, orchestrators)}
    weights = [profile.weight for profile in profiles.values()]
    for target in random.choices(list(profiles), weights, k=count):
        at, down = round(random.uniform(0, seconds), 2), round(random.uniform(0, MAX_DOWN_SECONDS), 2)
        delay = round(random.uniform(0, profiles[target].max_delay_at_work), 3)
        yield Fault(at, target, FaultKind.KILL, down, delay)
