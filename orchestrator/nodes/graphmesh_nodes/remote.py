"""Remote nodes: a typed RPC of a tool service as a node of a graph (D1).

    builder.add_node(
        "refund",
        remote(
            BillingService.Refund,
            request=lambda state: RefundRequest(charge_id=state["charge_id"], amount=state["amount"], cause="damaged"),
            update=lambda state, response: {"refund_id": response.refund.refund_id},
            fallback=degrade(lambda state, error: {"notes": [f"The refund could not be made: {error}"]}),
        ),
    )

What the RPC's policy says drives the call: its timeout, its attempts, its scopes, and whether it is an effect. An
effect carries a key that is the same in every repeat, and is not sent before the checkpoint that its node runs from is
durable.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from google.protobuf.message import Message
from graphmesh.model.v1 import ModelService, Usage
from graphmesh_chassis import metadata
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import CallerError, Cancelled, GraphmeshError
from graphmesh_contracts import Idempotency, MethodPolicy, Rpc
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import ExecutionInfo, Runtime
from langgraph.types import Command

from graphmesh_nodes.approval import Approval, Ask, obtain
from graphmesh_nodes.context import RunContext, effect_key
from graphmesh_nodes.errors import WriteAheadRequired
from graphmesh_nodes.retries import Attempts

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

Update = Mapping[str, Any]
Node = Callable[..., Awaitable[Update | Command[Any]]]
"""Takes (state, config, runtime). LangGraph, which hands it all three, has no type for that."""
Fallback = Callable[[Any, RunnableConfig, Runtime[RunContext], GraphmeshError], Awaitable[Update | Command[Any]]]


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool, all its attempts together; sent to the run's custom stream."""

    node: str
    tool: str
    effect_key: EffectKey
    """Empty for reads."""
    attempts: int
    seconds: float
    error: GraphmeshError | None


def remote(
    rpc: Rpc[RequestT, ResponseT],
    *,
    request: Callable[[Any], RequestT],
    update: Callable[[Any, ResponseT], Update | Command[Any]],
    fallback: Fallback | None = None,
    refusals: Mapping[type[CallerError], Fallback] = MappingProxyType({}),
    approval: Approval | None = None,
) -> Node:
    """Make a node of a graph out of an RPC.

    Args:
        rpc: what to call; `graphmesh.billing.v1.BillingService.Refund`.
        request: the state as the RPC's request.
        update: the state and the response as the update of the state, or a `Command`.
        fallback: what to do instead where the service can't: `degrade`, `instead` or `escalate`.
        refusals: what to do where the service decides against the call, by the error that it answers with, such as
            `{NotFound: degrade(...)}`. A refusal that is not named here ends the run: `fallback` is not for decisions.
        approval: when the node asks a person first, besides the calls for which the RPC's policy says so:

                approval=Approval(
                    question=lambda state, request: f"Refund {request.charge_id}?",
                    scopes=("approvals.refund",),
                    ttl=timedelta(hours=4),
                    when=lambda state, request: request.amount.amount_minor > 10_000,
                )

            The run parks until somebody answers or the time is over, which is a denial. What was approved is what is
            sent, once; `{ApprovalDenied: degrade(...)}` among the refusals is for both denials.
    """

    async def node(state: Any, config: RunnableConfig, runtime: Runtime[RunContext]) -> Update | Command[Any]:
        try:
            made = request(state)
            ask = approval.ask(state, made) if approval else None
            response = await call(rpc, made, config, runtime, ask=ask)
        except GraphmeshError as error:
            way_out = _way_out(error, fallback, refusals)
            if way_out is None:
                raise
            return await way_out(state, config, runtime, error)
        return update(state, response)

    node.__name__ = rpc.method
    return node


def _way_out(
    error: GraphmeshError, fallback: Fallback | None, refusals: Mapping[type[CallerError], Fallback]
) -> Fallback | None:
    if error.is_refusal:
        return next((way_out for kind, way_out in refusals.items() if isinstance(error, kind)), None)
    return fallback


def degrade(update: Callable[[Any, GraphmeshError], Update]) -> Fallback:
    """Go on without the service: this update instead of its answer. Let the answer say so (D5)."""

    async def fallback(state: Any, _: RunnableConfig, __: Runtime[RunContext], error: GraphmeshError) -> Update:
        return update(state, error)

    return fallback


def instead(node: Node) -> Fallback:
    """Ask another tool: run this node in place of the one that failed."""

    async def fallback(
        state: Any, config: RunnableConfig, runtime: Runtime[RunContext], _: GraphmeshError
    ) -> Update | Command[Any]:
        return await node(state, config, runtime)

    return fallback


def escalate(to: str, update: Callable[[Any, GraphmeshError], Update]) -> Fallback:
    """Hand over: go on at the node `to` with this update. The node that falls back must have no static edge of its own,
    since LangGraph follows both."""

    async def fallback(state: Any, _: RunnableConfig, __: Runtime[RunContext], error: GraphmeshError) -> Command[Any]:
        return Command(goto=to, update=dict(update(state, error)))

    return fallback


async def call(
    rpc: Rpc[RequestT, ResponseT],
    request: RequestT,
    config: RunnableConfig,
    runtime: Runtime[RunContext],
    *,
    ordinal: int = 0,
    ask: Ask | None = None,
) -> ResponseT:
    """Call a tool from inside a node of your own. `remote` is the better way where a node is one call.

    Args:
        ordinal: tells several effects of one node with the same RPC apart. It has to be the same in every repeat of the
            node: number the effects in your code, never count at run time.
        ask: what a person is asked first. The run parks in here, and goes on with the node from its beginning. Each
            call asks by itself, so a node that calls in a loop asks again and again.

    Raises:
        GraphmeshError: what the service answered, or why it did not; `may_have_happened` says whether it was sent.
        WriteAheadRequired: an effect, in a graph that does not run with durable checkpoints.
        ApprovalDenied, ApprovalExpired, ApprovalMismatch: nobody has agreed to this call; nothing was sent.
    """
    context, task = runtime.context, _task(runtime)
    policy = context.policies.of(rpc)
    key = EffectKey()
    if policy.idempotency is Idempotency.EFFECT:
        await _require_write_ahead(rpc, config, context, task)
        key = effect_key(context.tenant, task, ordinal, rpc.path)
    consent = obtain(rpc, policy, request, ask, thread_of(context, task))
    node = str(config.get("metadata", {}).get("langgraph_node", ""))
    headers = call_headers(context, policy, task, node, key, consent.approval_id if consent else "")
    first_epoch = consent.epoch + 1 if consent else 1
    settling = bool(key) and (context.goes_on or context.epoch > first_epoch)
    attempts = Attempts(rpc, policy, context.deadline, settling)
    require_budget(context, rpc)
    error: GraphmeshError | None = Cancelled(tool=rpc.tool)
    try:
        response: ResponseT = await attempts.run(context, request, headers)
        error = None
        spend(context, response)
        return response
    except GraphmeshError as failure:
        error = failure
        raise
    finally:
        runtime.stream_writer(ToolCall(node, rpc.tool, key, attempts.made, attempts.seconds, error))


def require_budget(context: RunContext, rpc: Rpc[Any, Any]) -> None:
    """Raises TokenLimit or BudgetExceeded, where a model is to be called and the run may call none any more."""
    if rpc.service == ModelService.NAME:
        context.meter.require()


def spend(context: RunContext, response: Message) -> None:
    """Put on the run's meter what a model has used."""
    usage = getattr(response, "usage", None)
    if isinstance(usage, Usage):
        context.meter.spend(usage.input_tokens, usage.output_tokens, usage.cost_micro_usd)


def call_headers(
    context: RunContext, policy: MethodPolicy, task: ExecutionInfo, node: str, key: EffectKey, approval_id: str = ""
) -> list[tuple[str, str]]:
    """The metadata of a call: the run's identity, with only the scopes that this call needs (H6)."""
    headers = [
        (metadata.TENANT, context.tenant),
        (metadata.SUBJECT, context.subject),
        (metadata.SCOPES, " ".join(sorted(policy.scopes))),
        (metadata.RUN, context.run_id),
        (metadata.THREAD, thread_of(context, task)),
        (metadata.NODE, node),
    ]
    if approval_id:
        headers.append((metadata.APPROVAL, approval_id))
    if not key:
        return headers
    return [*headers, (metadata.IDEMPOTENCY_KEY, key), (metadata.EPOCH, str(context.epoch))]


def thread_of(context: RunContext, task: ExecutionInfo) -> str:
    """The thread of a task, under the name by which callers know it."""
    return (task.thread_id or "").removeprefix(f"{context.tenant}/")


def _task(runtime: Runtime[RunContext]) -> ExecutionInfo:
    if runtime.execution_info is None:
        raise RuntimeError("a remote node runs only inside a graph")
    return runtime.execution_info


async def _require_write_ahead(
    rpc: Rpc[Any, Any], config: RunnableConfig, context: RunContext, task: ExecutionInfo
) -> None:
    """No effect leaves before its checkpoint is durable (design invariant 1; E4).

    With any durability but `sync`, LangGraph hands over a checkpoint whenever it comes to it, and a task that is tried
    again after a crash gets another id, hence another key. With `sync` it is handed over before the next superstep, and
    waited for here; and a subgraph may have no checkpoints at all.
    """
    durability = config.get("configurable", {}).get("__pregel_durability", "async")
    if durability != "sync" or task.thread_id is None:
        raise WriteAheadRequired(tool=rpc.tool, durability=durability)
    if not await context.is_durable(config):
        raise WriteAheadRequired(tool=rpc.tool, durability="none")
