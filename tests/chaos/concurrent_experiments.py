"""Experiments that run at the same time, since they wait for most of it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from graphmesh_chaos.experiment import MeshOptions, Result, run_experiment
from graphmesh_chaos.schedule import Schedule


async def run_concurrently(
    experiments: Mapping[str, tuple[Schedule, MeshOptions]], folder: Path
) -> Mapping[str, Result]:
    """Return the results by the names of the experiments; the first failure cancels the others."""
    async with asyncio.TaskGroup() as group:
        running = {
            name: group.create_task(run_experiment(schedule, folder / name, options))
            for name, (schedule, options) in experiments.items()
        }
    return {name: task.result() for name, task in running.items()}
