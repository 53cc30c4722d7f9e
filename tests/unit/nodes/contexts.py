"""Contexts of runs over a mesh without services."""

from graphmesh_chassis.deadline import Deadline
from graphmesh_nodes.context import Lease, NoLease, Policies, RunContext
from graphmesh_nodes.testing.twin_mesh import TwinMesh


def a_context(lease: Lease | None = None) -> RunContext:
    """Return the context of a run whose worker holds a lease: one that does not expire, unless it is given."""
    mesh = TwinMesh(Policies())
    return RunContext(mesh, "default", "local", "run_1", Deadline.after(60), lease=lease or NoLease())
