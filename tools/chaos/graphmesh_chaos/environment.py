"""Injects faults of the environment of a mesh: its clocks."""

from graphmesh_local.databases import DatabaseUrls
from graphmesh_local.running_mesh import RunningMesh

from graphmesh_chaos.database_clock import shift_clock
from graphmesh_chaos.schedule import POSTGRES, Fault, FaultKind
from graphmesh_chaos.wall_clock import WallClocks

KINDS = {FaultKind.CLOCK}
"""The faults that are injected here."""


class Environment:
    """What the processes of a mesh share with no other process of the machine."""

    def __init__(self, mesh: RunningMesh, databases: DatabaseUrls, clocks: WallClocks | None) -> None:
        self._mesh, self._databases, self._clocks = mesh, databases, clocks

    async def inject(self, fault: Fault) -> None:
        if fault.target == POSTGRES:
            for url in self._databases.values():
                shift_clock(url, fault.seconds)
        elif self._clocks:
            self._clocks.shift(self._mesh.child(fault.target).pid, fault.seconds)
