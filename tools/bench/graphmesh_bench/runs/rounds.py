"""The rounds: in each, every variant is measured once at every number of concurrent callers."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from graphmesh_chassis.errors import GraphmeshError
from graphmesh_local.child_process import gather_or_cancel

from graphmesh_bench.runs.resource_usage import ResourceUsage, UsageReader
from graphmesh_bench.runs.variants import RunFailed, Variant, VariantName

WARM_UP_CALLERS = 4
GRACE_SECONDS = 20.0
"""Longest wait of a caller for its last run, after the end of the time."""


@dataclass(frozen=True)
class Plan:
    """The parameters of the benchmark."""

    seconds: float
    """For each variant at each number of callers; callers then still wait for their last run."""
    repeats: int
    """The number of rounds."""
    callers: Sequence[int] = (1, 16, 64)
    crowd: int = 1000
    """A large number of callers, to compare the CPU of a run."""
    state_kb: int = 2
    flush_ms: float = 0
    """Added to every flush of the write-ahead log."""
    rows: int = 0
    """Stored runs of one further variant."""
    memory_runs: int = 200
    """Runs over which memory is measured."""
    turns: int = 0
    """Turns of a conversation on one thread."""

    def cells(self, variants: Sequence[Variant]) -> Iterator[tuple[Variant, int]]:
        """The samples of one round: a variant at a number of callers."""
        for callers in self.callers:
            yield from ((variant, callers) for variant in variants if callers in (variant.callers or self.callers))
        if self.crowd not in self.callers:
            crowded = [variant for variant in variants if variant.name is VariantName.ORCHESTRATOR]
            yield from ((variant, self.crowd) for variant in crowded)


@dataclass(frozen=True)
class Sample:
    """One variant at one number of callers in one round."""

    variant: VariantName
    callers: int
    runs: int
    seconds: float
    waits: Sequence[float]
    """Seconds that the caller waited for each run."""
    failed: int
    """Runs that did not succeed, or whose caller got an error: at most one for each caller."""
    usage: ResourceUsage

    @property
    def rate(self) -> float:
        """Runs a second."""
        return self.runs / self.seconds

    @property
    def cpu(self) -> float:
        """Milliseconds a run."""
        return self.usage.cpu / max(1, self.runs) * 1000

    @property
    def writes(self) -> float:
        """Write transactions a run."""
        return self.usage.writes / max(1, self.runs)

    @property
    def wal(self) -> float:
        """Bytes a run."""
        return self.usage.wal / max(1, self.runs)


async def warm_up(variants: Sequence[Variant], seconds: float) -> None:
    """Let every variant open its connections and fill its caches."""
    for variant in variants:
        await _call(variant, WARM_UP_CALLERS, seconds)


async def run_rounds(
    variants: Sequence[Variant], plan: Plan, reader: UsageReader, on_round: Callable[[int], None]
) -> list[Sample]:
    """All samples in the order of their rounds. `on_round` gets the number of each round at its beginning."""
    samples = []
    for number in range(plan.repeats):
        on_round(number)
        samples += [await _sample(variant, callers, plan.seconds, reader) for variant, callers in plan.cells(variants)]
    return samples


async def _sample(variant: Variant, callers: int, seconds: float, reader: UsageReader) -> Sample:
    before, began = await reader.read(variant.processes), time.perf_counter()
    waits, failed = await _call(variant, callers, seconds)
    took = time.perf_counter() - began
    usage = await reader.read(variant.processes) - before
    return Sample(variant.name, callers, len(waits), took, waits, failed, usage)


async def _call(variant: Variant, callers: int, seconds: float) -> tuple[list[float], int]:
    """The waits of all concurrent callers for their runs, and the number of callers that failed."""
    end, waits, failures = time.perf_counter() + seconds, list[float](), list[Exception]()

    async def caller() -> None:
        try:
            async with asyncio.timeout(seconds + GRACE_SECONDS):
                waits.extend(await variant.iterate())
                while time.perf_counter() < end:
                    waits.extend(await variant.iterate())
        except (GraphmeshError, RunFailed, TimeoutError) as failure:
            failures.append(failure)

    await gather_or_cancel(caller() for _ in range(callers))
    return waits, len(failures)
