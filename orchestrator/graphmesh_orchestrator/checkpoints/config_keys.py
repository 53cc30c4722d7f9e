"""Keys of `configurable` for the epoch and the newest checkpoint of a writer, and references to checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphmesh_chassis.epoch import Epoch
from graphmesh_contracts.keys import checkpoint_thread, client_thread
from langchain_core.runnables import RunnableConfig

TENANT = "__graphmesh_tenant"
"""In `configurable`: the tenant of `thread_id`, which is then the id that clients and nodes know.

Without it, `thread_id` is the name that stored rows have.
"""
RUN_EPOCH = "__graphmesh_run_epoch"
"""In `configurable`: the `RunEpoch` under which a graph writes. LangGraph keeps keys with underscores out of metadata.

A writer without it is not fenced, as an import, or an update of a thread that no run holds.
"""
NEWEST = "__graphmesh_newest"
"""In `configurable`: the id of the checkpoint that was the newest when it was read; empty for none.

A checkpoint that is written with it is the only one to follow its parent: of two writers that read the same newest
checkpoint, the second gets `CheckpointConflict`. The saver sets it where the newest checkpoint is read, which is how
LangGraph begins a run or an update, and not where a checkpoint is read by its id, which is how LangGraph forks: an
older checkpoint may have several children. A thread without a checkpoint has no config to set it in; a writer whose
checkpoint must be the first passes `NEWEST: ""`.
"""
NEW_THREAD = "__graphmesh_new_thread"
"""In `configurable`: a `NewThread`, where a run has just created its thread, so that there is nothing to read."""


@dataclass(frozen=True, slots=True)
class RunEpoch:
    """A run and the epoch of the lease under which a process executes it."""

    run_id: str
    epoch: Epoch


class NewThread:
    """A thread without checkpoints, up to its first read."""

    def __init__(self) -> None:
        self._is_read = False

    def take_first_read(self) -> bool:
        """Return True for the first call, and False from then on."""
        is_first, self._is_read = not self._is_read, True
        return is_first


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """A checkpoint, or the newest of a namespace."""

    thread_id: str
    """The name of its thread in stored rows."""
    ns: str
    checkpoint_id: str | None
    """None: the newest."""

    @classmethod
    def of(cls, config: RunnableConfig) -> "CheckpointRef":
        given = config["configurable"]
        return cls(stored_thread(given), given.get("checkpoint_ns", ""), given.get("checkpoint_id") or None)

    def with_id(self, checkpoint_id: str) -> "CheckpointRef":
        """Return the checkpoint of that id in the same namespace."""
        return CheckpointRef(self.thread_id, self.ns, checkpoint_id)

    def config(self, tenant: str | None = None) -> RunnableConfig:
        """Return a config of the checkpoint, for the tenant of its thread if that is given."""
        ids = {"checkpoint_ns": self.ns, "checkpoint_id": self.checkpoint_id}
        if tenant is None:
            return {"configurable": {"thread_id": self.thread_id, **ids}}
        return {"configurable": {"thread_id": client_thread(tenant, self.thread_id), TENANT: tenant, **ids}}


def thread_config(tenant: str, thread_id: str, checkpoint_id: str = "") -> RunnableConfig:
    """Return the config of a tenant's thread at its newest checkpoint, or at another one."""
    configurable = {"thread_id": thread_id, TENANT: tenant}
    return {"configurable": {**configurable, "checkpoint_id": checkpoint_id} if checkpoint_id else configurable}


def tenant_of(config: RunnableConfig | None) -> str | None:
    """Return the tenant of a config; None where its thread has the name of stored rows."""
    return (config or {}).get("configurable", {}).get(TENANT)


def stored_thread(configurable: Mapping[str, Any]) -> str:
    """Return the name of a config's thread in stored rows."""
    thread_id, tenant = str(configurable["thread_id"]), configurable.get(TENANT)
    return thread_id if tenant is None else checkpoint_thread(tenant, thread_id)


def is_first_read_of_new_thread(config: RunnableConfig) -> bool:
    """Return whether this is the first read of a new thread. The call counts as that read."""
    new_thread: NewThread | None = config["configurable"].get(NEW_THREAD)
    return new_thread is not None and new_thread.take_first_read()


def run_epoch_of(config: RunnableConfig) -> RunEpoch | None:
    run_epoch: RunEpoch | None = config["configurable"].get(RUN_EPOCH)
    return run_epoch
