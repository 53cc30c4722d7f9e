"""The context of a run: its identity, its deadline, and its access to the mesh."""

import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from graphmesh_chassis.deadline import Deadline
from graphmesh_chassis.epoch import Epoch
from graphmesh_chassis.errors import CustomerMismatch
from graphmesh_chassis.own_loop import OwnLoop
from graphmesh_contracts import Method, MethodPolicy, Overrides, method_policy
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from graphmesh_nodes.artifacts import Artifacts, MemoryArtifacts
from graphmesh_nodes.budget import Budget
from graphmesh_nodes.channel import MeshChannel
from graphmesh_nodes.clock import Clock, SystemClock
from graphmesh_nodes.decisions import Decision
from graphmesh_nodes.effect_order import EffectOrder
from graphmesh_nodes.tool_calls import CallRecorder, NoRecorder

T = TypeVar("T")


class Lease(Protocol):
    """The lease of the worker that executes a run."""

    @property
    def remaining(self) -> float:
        """Seconds for which the lease holds at least, by the worker's own clock; infinite where no other worker is."""


class NoLease:
    """The lease where a graph runs without an orchestrator: it does not expire."""

    remaining = math.inf


IsDurable = Callable[[RunnableConfig], Awaitable[bool]]


async def assume_durable(config: RunnableConfig) -> bool:
    """Return True: a checkpointer that is not the orchestrator's has stored what LangGraph has handed to it."""
    return True


RequireTool = Callable[[str], None]


def allow_every_tool(tool: str) -> None:
    """Let a graph call a tool: there are no roles where it runs without an orchestrator."""


def local_developer() -> None:
    """Return None: the roles of a caller that has none, and may do all."""


def no_scopes() -> frozenset[str]:
    """Return no scopes: calls carry those of the method alone."""
    return frozenset()


def forget(decision: Decision) -> None:
    """Record no decision of a graph that runs without an orchestrator."""


class Policies:
    """The policies of all RPCs, with this environment's overrides by the service's full name."""

    def __init__(self, overrides: Mapping[str, Overrides] | None = None) -> None:
        self._overrides = overrides or {}
        self._policies: dict[str, MethodPolicy] = {}

    def of(self, rpc: Method[Any, Any]) -> MethodPolicy:
        if rpc.path not in self._policies:
            overrides = self._overrides.get(rpc.service, Overrides())
            self._policies[rpc.path] = method_policy(rpc.descriptor, overrides)
        return self._policies[rpc.path]


def _own_loop() -> OwnLoop | None:
    try:
        return OwnLoop(
            "a model or a tool of the mesh is called synchronously on the event loop: use ainvoke, astream and abatch"
        )
    except RuntimeError:
        return None


@dataclass(frozen=True)
class RunContext:
    """The run that a node is executed for; nodes get it from `run_context()`."""

    channel: MeshChannel
    """To the mesh."""
    tenant: str
    subject: str
    """The client that created the run."""
    run_id: str
    deadline: Deadline
    """The run's deadline; every call of its nodes ends before it."""
    policies: Policies = field(default_factory=Policies)
    budget: Budget = field(default_factory=Budget)
    """The run's usage and limits."""
    epoch: Epoch = field(default_factory=Epoch)
    """The epoch of the worker that executes the run. Every effect carries it: services refuse an earlier one."""
    continues_thread: bool = False
    """Whether the run has no input of its own: an earlier run may have begun its first tasks, under the same effect
    keys."""
    resumed_from: str = ""
    """The checkpoint from which this execution has resumed the run; empty where it has not. The tasks of later ones are
    new, and with them the keys of their effects."""
    artifacts: Artifacts = field(default_factory=MemoryArtifacts)
    """Storage for values that are too large for the state."""
    is_durable: IsDurable = assume_durable
    """Waits until the checkpoint that the task of a config runs from is stored, and those of the graphs around it, and
    returns whether they are. Runs are ahead of the database, so an effect has to wait."""
    recorder: CallRecorder = field(default_factory=NoRecorder)
    """Records the calls of tools."""
    decided: Callable[[Decision], None] = forget
    """Records routes, results of checks and escalations; called in any thread."""
    clock: Clock = field(default_factory=SystemClock)
    lease: Lease = field(default_factory=NoLease)
    """The lease of the worker. No call is sent after it: by then the run has ended, or another worker may have it."""
    require_tool: RequireTool = allow_every_tool
    """Raises ToolNotAllowed where the roles of the run's caller do not have a tool, `billing.Refund`."""
    caller_scopes: Callable[[], frozenset[str]] = no_scopes
    """Returns the scopes that calls carry besides those of the method: of readers of documents, of roles of SQL."""
    roles: Callable[[], frozenset[str] | None] = local_developer
    """Returns the names of the caller's roles; None for the local developer, whom no role restricts."""
    client: str = ""
    """The program through which the run was created; empty where that is not known."""
    effect_order: EffectOrder = field(default_factory=EffectOrder)
    """The order of the effects that messages of models request."""
    customer: str = ""
    """The customer that every call of the run is bound to; empty where the graph declares none."""
    loop: OwnLoop | None = field(default_factory=_own_loop)
    """The event loop of the channel, on which synchronous nodes wait for calls; None where it was not running."""

    def bound_to(self, customer: str) -> "RunContext":
        """Return the context of a call that is bound to `customer` too; empty: as the run is.

        Raises:
            CustomerMismatch: the run is bound to another one.
        """
        if not customer or customer == self.customer:
            return self
        if self.customer:
            raise CustomerMismatch(field="customer")
        return replace(self, customer=customer)


CONTEXT_KEY = "__graphmesh_run"
"""The key of the context in the `configurable` of a graph's config."""


def with_run_context(config: RunnableConfig, context: RunContext) -> RunnableConfig:
    """Return the config of a graph that is executed for a run."""
    return {**config, "configurable": {**config.get("configurable", {}), CONTEXT_KEY: context}}


def run_context() -> RunContext:
    """Return the context of the run that the present node is executed for. Raises RuntimeError outside of a run."""
    return run_context_of(get_config())


def run_context_of(config: RunnableConfig) -> RunContext:
    """Return the context in a node's config. Raises RuntimeError where the graph runs without graphmesh."""
    context: RunContext | None = config.get("configurable", {}).get(CONTEXT_KEY)
    if context is None:
        raise RuntimeError("tools and models of the mesh are called only inside of a run: use GraphHarness in tests")
    return context


def wait_on_loop(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return the result of a coroutine that is executed on the run's event loop, for a synchronous node.

    Raises:
        InvalidStateError: the caller is on the loop, which would wait for itself.
        RuntimeError: the caller is outside of a run.
    """
    try:
        loop = run_context().loop
    except RuntimeError as error:
        raise RuntimeError("models and tools of the mesh are called synchronously only by nodes of a run") from error
    if loop is None:
        raise RuntimeError("the context of the run was not made on an event loop, on which a call could be executed")
    return loop.wait(call())
