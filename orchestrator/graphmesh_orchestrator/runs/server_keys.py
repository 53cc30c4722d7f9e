"""The keys of LangGraph's own server in the config of a graph: facts about the run and its caller."""

from collections.abc import Iterator
from typing import Any

from graphmesh_orchestrator.runs.run import Run, RunIdentity


class RunUser:
    """The caller that created a run, as the user of LangGraph's server.

    Its permissions are not known: callers are authorized by their scopes, at the edge and for each RPC.
    """

    is_authenticated = True

    def __init__(self, identity: RunIdentity) -> None:
        self.identity = identity.subject

    @property
    def display_name(self) -> str:
        return self.identity

    @property
    def permissions(self) -> list[str]:
        """Raises AttributeError: see the class."""
        raise AttributeError("the permissions of a run's caller are not known: each RPC is authorized by its scopes")

    def __getitem__(self, key: str) -> Any:
        if key not in FIELDS:
            raise KeyError(f"{key}: the user of a run has {', '.join(FIELDS)}")
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in FIELDS

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __repr__(self) -> str:
        return f"RunUser({self.identity!r})"


FIELDS = ("identity", "display_name", "is_authenticated")
"""The fields of a user that a graph reads by name."""


def server_keys(run: Run) -> dict[str, Any]:
    """Return the members of `configurable` that are the server's, besides the thread."""
    identity = run.identity
    keys = {
        "run_id": identity.run_id,
        "graph_id": identity.graph,
        "langgraph_auth_user": RunUser(identity),
        "langgraph_auth_user_id": identity.subject,
    }
    return keys | ({"assistant_id": run.request.assistant_id} if run.request.assistant_id else {})
