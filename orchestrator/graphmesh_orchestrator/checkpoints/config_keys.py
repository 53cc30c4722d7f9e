"""What a config says of who writes: the run with its epoch, and whether the parent was read as the thread's newest."""

from dataclasses import dataclass

from langchain_core.runnables import RunnableConfig


def saver_thread(tenant: str, thread_id: str) -> str:
    """The name of a thread in checkpoints."""
    return f"{tenant}/{thread_id}"


CLAIM = "__graphmesh_claim"
"""In `configurable`: the `Claim` under which a graph writes. LangGraph keeps keys with underscores out of metadata."""
HEAD = "__graphmesh_head"
"""In `configurable`: the id of the checkpoint that was the newest when it was read; empty for none.

A checkpoint that is written with it is the only one to follow its parent: of two writers who read the same newest
checkpoint, one is told `CheckpointConflict`. The saver sets it where the newest is asked for, which is how LangGraph
begins to run or to update a thread, and takes it off where a checkpoint is asked for by its id, which is how LangGraph
forks: siblings of what is old are legal. A thread without a checkpoint has nothing to be marked; who must be the
first gives `HEAD: ""`.
"""

BLANK = "__graphmesh_blank"
"""In `configurable`: a `Blank`, where a run has just made its thread, so that there is nothing to read."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run and the epoch of the lease under which a process executes it."""

    run_id: str
    epoch: int


class Blank:
    """Stands for the first read of a thread, and for no other."""

    def __init__(self) -> None:
        self._is_read = False

    def read(self) -> bool:
        """Whether this is the first."""
        is_first, self._is_read = not self._is_read, True
        return is_first


@dataclass(frozen=True, slots=True)
class Place:
    """Where a config points to."""

    thread_id: str
    ns: str
    checkpoint_id: str | None

    @classmethod
    def of(cls, config: RunnableConfig) -> "Place":
        given = config["configurable"]
        return cls(str(given["thread_id"]), given.get("checkpoint_ns", ""), given.get("checkpoint_id") or None)

    def at(self, checkpoint_id: str) -> "Place":
        """The checkpoint of that id on the same thread."""
        return Place(self.thread_id, self.ns, checkpoint_id)

    def config(self) -> RunnableConfig:
        return {
            "configurable": {
                "thread_id": self.thread_id,
                "checkpoint_ns": self.ns,
                "checkpoint_id": self.checkpoint_id,
            }
        }


def reads_blank(config: RunnableConfig) -> bool:
    """Whether this is the first read of a blank thread."""
    blank: Blank | None = config["configurable"].get(BLANK)
    return blank is not None and blank.read()


def claim_of(config: RunnableConfig) -> Claim | None:
    claim: Claim | None = config["configurable"].get(CLAIM)
    return claim
