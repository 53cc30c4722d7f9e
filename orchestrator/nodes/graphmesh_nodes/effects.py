"""The rules of calls with an effect: the same key in every repeat, a durable checkpoint before, a lease that holds."""

import hashlib
import math
from typing import Any

from graphmesh_chassis import metadata
from graphmesh_chassis.channel import Headers
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import Fenced
from graphmesh_contracts import Rpc
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import ExecutionInfo

from graphmesh_nodes.context import RunContext
from graphmesh_nodes.errors import WriteAheadRequired


def require_lease(context: RunContext) -> None:
    """Check before each attempt of a call that the graph may still make calls.

    Raises:
        Fenced: the run has ended, or the lease may be over, so that another worker may execute the run.
    """
    if context.lease.remaining <= 0:
        raise Fenced(run=context.run_id, epoch=context.epoch)


def lease_header(context: RunContext) -> Headers:
    """Return the metadata that states how long the lease holds; a service makes no effect after it. Raises Fenced."""
    require_lease(context)
    remaining = context.lease.remaining
    return () if math.isinf(remaining) else ((metadata.LEASE, str(int(remaining * 1000))),)


def effect_key(tenant: str, task: ExecutionInfo, ordinal: int, method: str) -> EffectKey:
    """Derive the idempotency key of one effect of one task: SHA-256, in hex.

    A task keeps its id through retries, crashes and resumption, as long as the checkpoint that it runs from is durable.
    The key depends neither on the attempt, nor on a clock, nor on the output of a model. `ordinal` distinguishes the
    effects of one task with the same method; `method` is the path of the RPC.
    """
    parts = (tenant, task.thread_id or "", task.checkpoint_ns, task.task_id, str(ordinal), method)
    return EffectKey(hashlib.sha256("\0".join(parts).encode()).hexdigest())


async def require_write_ahead(
    rpc: Rpc[Any, Any], config: RunnableConfig, context: RunContext, task: ExecutionInfo
) -> None:
    """Wait until the checkpoint that the task runs from is durable.

    With any durability but `sync`, LangGraph hands a checkpoint over at some later time, and a task that is executed
    again after a crash gets another id, hence another key. With `sync` it is handed over before the next superstep, and
    this waits until it is stored. A subgraph may have no checkpoints at all.

    Raises:
        WriteAheadRequired: the graph does not run with durable checkpoints.
    """
    durability = config.get("configurable", {}).get("__pregel_durability", "async")
    if durability != "sync" or task.thread_id is None:
        raise WriteAheadRequired(tool=rpc.tool, durability=durability)
    if not await context.is_durable(config):
        raise WriteAheadRequired(tool=rpc.tool, durability="none")
