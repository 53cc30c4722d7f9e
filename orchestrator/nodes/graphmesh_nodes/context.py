"""What a run hands to its nodes: who it runs for, until when, and the way to the mesh."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphmesh_chassis.channel import Channel
from graphmesh_chassis.deadline import Deadline
from graphmesh_contracts import MethodPolicy, Overrides, Rpc, method_policy
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import ExecutionInfo

from graphmesh_nodes.artifacts import Artifacts, MemoryArtifacts
from graphmesh_nodes.budget import Meter

IsDurable = Callable[[RunnableConfig], Awaitable[bool]]


async def believed(config: RunnableConfig) -> bool:
    """Of another checkpointer than ours: what LangGraph is told to be durable is taken for that."""
    return True


class Policies:
    """The policies of all tools, with this environment's overrides, by the service's full name."""

    def __init__(self, overrides: Mapping[str, Overrides] | None = None) -> None:
        self._overrides = overrides or {}
        self._policies: dict[str, MethodPolicy] = {}

    def of(self, rpc: Rpc[Any, Any]) -> MethodPolicy:
        if rpc.path not in self._policies:
            overrides = self._overrides.get(rpc.service, Overrides())
            self._policies[rpc.path] = method_policy(rpc.descriptor, overrides)
        return self._policies[rpc.path]


@dataclass(frozen=True)
class RunContext:
    """The `context_schema` of graphs that call remote nodes; nodes get it as `runtime.context`."""

    channel: Channel
    """To the mesh listener."""
    tenant: str
    subject: str
    """For whom the run was begun."""
    run_id: str
    deadline: Deadline
    """The run's own; every call of its nodes ends before it."""
    policies: Policies = field(default_factory=Policies)
    meter: Meter = field(default_factory=Meter)
    """What the run has used of what it may use."""
    epoch: int = 0
    """Of the worker that executes the run. It travels with every effect: services refuse one that is over."""
    goes_on: bool = False
    """Whether the run has no input of its own: an earlier one may have begun its first tasks, under the same keys."""
    artifacts: Artifacts = field(default_factory=MemoryArtifacts)
    """Where nodes put what is too big for the state."""
    is_durable: IsDurable = believed
    """Whether the checkpoint that the task of a config runs from is stored, and those of the graphs around it. They run
    ahead of the database, so it is waited for."""


def effect_key(tenant: str, task: ExecutionInfo, ordinal: int, method: str) -> str:
    """The idempotency key of one effect of one task (design invariant 2; E1).

    A task keeps its id through retries, crashes and resumption, as long as the checkpoint that it runs from is durable.
    Neither the attempt, nor a clock, nor anything that a model said is in it. `ordinal` tells the effects of one task
    with the same method apart; `method` is the path of the RPC.
    """
    parts = (tenant, task.thread_id or "", task.checkpoint_ns, task.task_id, str(ordinal), method)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
