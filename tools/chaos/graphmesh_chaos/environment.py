"""Injects faults of the environment of a mesh: its clocks, and the disk and the machine of its databases."""

import asyncio

from graphmesh_local.databases import DatabaseUrls, SharedServers
from graphmesh_local.running_mesh import RunningMesh

from graphmesh_chaos.database_clock import shift_clock
from graphmesh_chaos.replicated_postgres import ReplicatedPostgres
from graphmesh_chaos.schedule import POSTGRES, Fault, FaultKind
from graphmesh_chaos.slow_disk import slow_down
from graphmesh_chaos.small_disk import SmallDisk
from graphmesh_chaos.wall_clock import WallClocks

KINDS = {FaultKind.CLOCK, FaultKind.FULL_DISK, FaultKind.SLOW_DISK, FaultKind.FAILOVER}
"""The faults that are injected here."""


class Environment:
    """What a mesh needs for faults of its environment. A fault that it has nothing for has no effect."""

    def __init__(
        self,
        mesh: RunningMesh,
        databases: DatabaseUrls,
        shared: SharedServers | None,
        clocks: WallClocks | None,
        disk: SmallDisk | None,
        replicated: ReplicatedPostgres | None,
    ) -> None:
        self._mesh, self._databases, self._shared = mesh, databases, shared
        self._clocks, self._disk, self._replicated = clocks, disk, replicated

    async def inject(self, fault: Fault) -> None:
        if fault.kind is FaultKind.FULL_DISK:
            await self._fill_disk(fault.seconds)
        elif fault.kind is FaultKind.SLOW_DISK:
            await self._slow_down_disk(fault.seconds)
        elif fault.kind is FaultKind.FAILOVER:
            if self._replicated:
                await self._replicated.fail_over(fault.seconds)
        elif fault.target == POSTGRES:
            for url in self._databases.values():
                await asyncio.to_thread(shift_clock, url, fault.seconds)
        elif self._clocks:
            self._clocks.shift(self._mesh.child(fault.target).pid, fault.seconds)

    async def _fill_disk(self, seconds: float) -> None:
        if self._disk:
            with self._disk.filled():
                await asyncio.sleep(seconds)

    async def _slow_down_disk(self, seconds: float) -> None:
        if self._shared:
            await slow_down(self._shared.postgres, seconds)
