"""Keys that packages of the mesh agree on and that no proto declares."""

from typing import Final

APPROVAL_KEY: Final = "graphmesh.approval"
"""The only key of an interrupt's value that requests an approval, and of the answer to it. It sets both apart from the
interrupts that a graph raises itself, so ResumeRun refuses answers that have it. Stored states contain it: it never
changes."""
BREAKPOINT_KEY: Final = "breakpoint"
"""The only key of a breakpoint's question; its value names the nodes that are executed next."""
WRITE_BEHIND_KEY: Final = "__graphmesh_write_behind"
"""The key in the `configurable` of a graph's config that holds the write-behind buffer of its checkpoints and task
writes. A graph outside of the orchestrator has none."""

SERVER_KEYS: Final = frozenset(
    (
        *("checkpoint_id", "checkpoint_map", "checkpoint_ns", "thread_id"),
        *("assistant_id", "graph_id", "run_id"),
        *("langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions"),
    )
)
"""The keys in the `configurable` of a graph's config that LangGraph or the server of a run sets. No caller passes them:
graphs trust the identity in them."""


def is_breakpoint(question: object) -> bool:
    """Return whether the value of an interrupt is the question of a breakpoint."""
    return isinstance(question, dict) and list(question) == [BREAKPOINT_KEY]


def checkpoint_thread(tenant: str, thread_id: str) -> str:
    """Return the name of a tenant's thread in checkpoints. Stored rows have it: it never changes."""
    return f"{tenant}/{thread_id}"


def client_thread(tenant: str, name: str) -> str:
    """Return the id under which clients know a thread, from its name in checkpoints."""
    return name.removeprefix(checkpoint_thread(tenant, ""))
