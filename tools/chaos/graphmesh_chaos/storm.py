"""A storm: nothing but deaths, and so many of them that most processes have just come back when they die again."""

from collections.abc import Iterator
from random import Random

from graphmesh_chaos.schedule import Act, Fault, Plan, processes, submission

POLICY = {"breaker": {"consecutiveFailures": 1000}}
"""Of the services: a breaker would keep all calls away from what dies all the time."""
SETTINGS = {"GRAPHMESH_ORCHESTRATOR_CAPACITY": "4"}
"""Of the servers: a death that stops a few runs is as good as one that stops many, and they go on sooner."""
ROLES = {
    "orchestrator": (2, 0.4),
    "billing": (5, 0.01),
    "ticketing": (5, 0.01),
    "envoy": (1, 0.2),
}
"""How often a process of each role dies, beside the others, and after how many seconds of work at most."""
DOWN_SECONDS = 0.3
"""At most, until what has died is started again."""


def storm(seed: int, *, runs: int, seconds: float, faults: int, orchestrators: int = 1) -> Plan:
    """The storm of a seed: `faults` at any moments within about `seconds`, and `runs` that are asked for steadily.

    A death waits for the process to be there, and for a moment for work that it can stop; so a storm may take longer.
    """
    random = Random(f"storm {seed}")
    step = seconds / runs
    submissions = [submission(random, (number + random.random()) * step, number) for number in range(runs)]
    return Plan(sorted(_deaths(random, faults, seconds, orchestrators)), submissions)


def _deaths(random: Random, count: int, seconds: float, orchestrators: int) -> Iterator[Fault]:
    struck = {name: kind for role, kind in ROLES.items() for name in processes(role, orchestrators)}
    for target in random.choices(list(struck), [weight for weight, _ in struck.values()], k=count):
        at, down = round(random.uniform(0, seconds), 2), round(random.uniform(0, DOWN_SECONDS), 2)
        yield Fault(at, target, Act.KILL, down, round(random.uniform(0, struck[target][1]), 3))
