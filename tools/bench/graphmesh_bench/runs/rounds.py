"""The rounds: in each, every kind is measured once at every number of concurrent callers."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from graphmesh_chassis.errors import GraphmeshError
from graphmesh_local.child_process import together

from graphmesh_bench.runs.kinds import Kind, Name, RunFailed
from graphmesh_bench.runs.meter import Cost, Meter

WARM_UP_CALLERS = 4
PATIENCE_SECONDS = 20.0
"""How long a caller waits for a run that is under way when the time is over."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    seconds: float
    """For each kind at each number of callers. Runs that are under way then are waited for."""
    repeats: int
    callers: Sequence[int] = (1, 16, 64)
    crowd: int = 1000
    """How many call at once to see whether a run costs the same then."""
    state_kb: int = 2
    flush_ms: float = 0
    """What every flush of the write-ahead log takes longer."""
    rows: int = 0
    """Runs that are stored beforehand, for one kind more."""
    memory_runs: int = 200
    """Over so many runs is memory measured."""

    def cells(self, kinds: Sequence[Kind]) -> Iterator[tuple[Kind, int]]:
        """One round: every kind beside the others."""
        for callers in self.callers:
            yield from ((kind, callers) for kind in kinds if callers in (kind.only or self.callers))
        if self.crowd not in self.callers:
            yield from ((kind, self.crowd) for kind in kinds if kind.name is Name.SYNC)


@dataclass(frozen=True)
class Sample:
    """One kind at one number of callers in one round."""

    kind: Name
    callers: int
    runs: int
    seconds: float
    waits: Sequence[float]
    """Seconds that the caller waited for each run."""
    failed: int
    """Runs that ended in another way, or whose caller was sent away: at most the callers."""
    cost: Cost

    @property
    def rate(self) -> float:
        """Runs each second."""
        return self.runs / self.seconds

    @property
    def cpu(self) -> float:
        """Milliseconds a run."""
        return self.cost.cpu / max(1, self.runs) * 1000

    @property
    def writes(self) -> float:
        """Write transactions a run."""
        return self.cost.writes / max(1, self.runs)

    @property
    def wal(self) -> float:
        """Bytes a run."""
        return self.cost.wal / max(1, self.runs)


async def warm_up(kinds: Sequence[Kind], seconds: float) -> None:
    """Let every kind open what it opens at first."""
    for kind in kinds:
        await _called(kind, WARM_UP_CALLERS, seconds)


async def rounds(kinds: Sequence[Kind], plan: Plan, meter: Meter, on_round: Callable[[int], None]) -> list[Sample]:
    """All samples in the order of their rounds. `on_round` is told the number of each round that begins."""
    samples = []
    for number in range(plan.repeats):
        on_round(number)
        samples += [await _sample(kind, callers, plan.seconds, meter) for kind, callers in plan.cells(kinds)]
    return samples


async def _sample(kind: Kind, callers: int, seconds: float, meter: Meter) -> Sample:
    before, began = await meter.read(kind.processes), time.perf_counter()
    waits, failed = await _called(kind, callers, seconds)
    took = time.perf_counter() - began
    return Sample(kind.name, callers, len(waits), took, waits, failed, await meter.read(kind.processes) - before)


async def _called(kind: Kind, callers: int, seconds: float) -> tuple[list[float], int]:
    """What so many callers waited for each run, until the time is over, and how many of them gave up before."""
    end, waits, failures = time.perf_counter() + seconds, list[float](), list[Exception]()

    async def caller() -> None:
        try:
            async with asyncio.timeout(seconds + PATIENCE_SECONDS):
                waits.extend(await kind.turn())
                while time.perf_counter() < end:
                    waits.extend(await kind.turn())
        except (GraphmeshError, RunFailed, TimeoutError) as failure:
            failures.append(failure)

    await together(caller() for _ in range(callers))
    return waits, len(failures)
