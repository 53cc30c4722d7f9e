"""Keys that packages of the mesh agree on and that no proto declares."""

from typing import Final

APPROVAL_KEY: Final = "graphmesh.approval"
"""The only key of an interrupt's value that requests an approval, and of the answer to it. It sets both apart from the
interrupts that a graph raises itself, so ResumeRun refuses answers that have it. Stored states contain it: it never
changes."""
WRITE_BEHIND_KEY: Final = "__graphmesh_write_behind"
"""The key in the `configurable` of a graph's config that holds the write-behind buffer of its checkpoints and task
writes. A graph outside of the orchestrator has none."""


def checkpoint_thread(tenant: str, thread_id: str) -> str:
    """Return the name of a tenant's thread in checkpoints. Stored rows have it: it never changes."""
    return f"{tenant}/{thread_id}"


def client_thread(tenant: str, name: str) -> str:
    """Return the id under which clients know a thread, from its name in checkpoints."""
    return name.removeprefix(checkpoint_thread(tenant, ""))
