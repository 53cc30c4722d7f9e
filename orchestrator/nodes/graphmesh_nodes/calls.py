"""One call of a tool from inside of a node."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from graphmesh.model.v1 import FailedAttempt, ModelService, Usage
from graphmesh_chassis import metadata
from graphmesh_chassis.customers import check_response_of, require_customer
from graphmesh_chassis.effect_key import EffectKey
from graphmesh_chassis.errors import Cancelled, GraphmeshError, InvalidResponse
from graphmesh_chassis.telemetry import names, spans
from graphmesh_chassis.telemetry.metrics import histogram
from graphmesh_contracts import Idempotency, Method, MethodPolicy, Rpc, StreamingRpc
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import NS_SEP
from langgraph.config import get_config
from langgraph.runtime import ExecutionInfo, get_runtime

from graphmesh_nodes.approval import ApprovalRequest, require_approval
from graphmesh_nodes.approval_terms import ApprovalAnswer
from graphmesh_nodes.context import RunContext, run_context, run_context_of
from graphmesh_nodes.effects import effect_key, require_write_ahead
from graphmesh_nodes.retries import RetryingCall
from graphmesh_nodes.tool_calls import ToolCalled

CALLS = histogram(
    "graphmesh.tool.call.duration",
    "s",
    "Calls of tools by graphs, with all of their attempts, by the reason of their error",
    (names.TOOL, names.REASON),
)
FAILED_USAGE = ("input_tokens", "output_tokens", "cost_micro_usd")
"""The data of the model service's errors that state what a call has used."""

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


async def call(
    rpc: Rpc[RequestT, ResponseT],
    request: RequestT,
    *,
    ordinal: int = 0,
    approval: ApprovalRequest | None = None,
    customer: str = "",
    in_order: bool = False,
    patience: timedelta = timedelta(),
    expect: Callable[[ResponseT], str] | None = None,
) -> ResponseT:
    """Call a tool from inside of a node of your own. `remote` is the better way where a node is one call.

    Args:
        ordinal: distinguishes several effects of one node with the same RPC. It has to be the same in every repeat of
            the node: number the effects in your code, never count at run time.
        approval: the approval that this call needs. The run parks in here, and resumes the node from its beginning.
            Each call needs an approval of its own, so a node that calls in a loop parks again and again.
        customer: the customer that the call is bound to, in a run that is bound to none: services then read and change
            no record of another one.
        in_order: make the call after those before it that state it too. Behind one whose outcome is open none is made.
        patience: the time for which the call is repeated while the service cannot answer, if that is longer than the
            policy's.
        expect: returns the rule that a response breaks, or "": see `graphmesh_nodes.guardrails.tool_outputs`.

    Raises:
        GraphmeshError: the service's error, or the reason why it did not answer; `may_have_happened` states whether the
            call may have been sent.
        InvalidResponse: the response is of another customer, or not what `expect` requires: it is not believed.
        WriteAheadRequired: an effect, in a graph that does not run with durable checkpoints.
        ToolNotAllowed: the graph does not declare the tool, or the roles of the run's caller do not have it; nothing
            was sent.
        EffectLimit: the run, or its tenant today, has begun as many effects as it may; nothing was sent.
        CustomerMismatch: the call is bound to a customer, and the request names another one; nothing was sent.
        ApprovalDenied, ApprovalExpired, ApprovalMismatch: the call is not approved; nothing was sent.
        RuntimeError: the program is not inside of a node.
    """
    context, begin = run_context(), partial(_call, rpc, request, ordinal, approval, customer, patience, expect)
    loop, call_here = context.loop, context.effect_order.make(begin) if in_order else begin()
    return await (loop.execute(call_here) if loop else call_here)


async def _call(
    rpc: Rpc[RequestT, ResponseT],
    request: RequestT,
    ordinal: int,
    approval: ApprovalRequest | None,
    customer: str,
    patience: timedelta,
    expect: Callable[[ResponseT], str] | None,
) -> ResponseT:
    config = get_config()
    context, task = run_context_of(config).bound_to(customer), current_task()
    context.require_tool(rpc.tool)
    policy = context.policies.of(rpc)
    if context.customer:
        require_customer(context.customer, policy.customer, request, rpc.path)
    key = EffectKey()
    if policy.idempotency is Idempotency.EFFECT:
        key = effect_key(context.tenant, task, ordinal, rpc.path)
        context.budget.require_effect(key)
    approved = require_approval(rpc, policy, request, approval, task.thread_id or "")
    node, namespace = node_name(config), namespace_of(task)
    headers = call_headers(context, policy, task, node, key, approved)
    first_epoch = approved.epoch + 1 if approved else 1
    is_repeat = context.continues_thread or context.epoch > first_epoch
    may_have_been_sent = bool(key) and is_repeat and not _is_new(task, context)
    failed = partial(record_failed_usage, context, rpc)
    seconds = patience.total_seconds()
    retrying = RetryingCall(
        rpc, policy, context, resolve_outcome=may_have_been_sent, patience=seconds, on_failure=failed
    )
    require_budget(context, rpc)
    error: GraphmeshError | None = Cancelled(tool=rpc.tool)
    try:
        if key:
            await context.budget.begin_effect(key)
            await context.recorder.effect_sending(node, namespace, rpc.tool, key)
            await require_write_ahead(rpc, config, context, task)
        with tool_span(rpc, context, node, key, retrying):
            response: ResponseT = await retrying.send(request, headers)
        if context.customer:
            check_response_of(context.customer, response, rpc)
        if expect and (broken := expect(response)):
            raise InvalidResponse(f"{rpc.tool}: the response is not plausible: {broken}", method=rpc.path)
        error = None
        record_usage(context, response)
        return response
    except GraphmeshError as failure:
        failure.may_have_happened |= bool(key) and isinstance(failure, InvalidResponse)
        error = failure
        raise
    finally:
        if retrying.attempts:
            called = ToolCalled(node, rpc.tool, key, retrying.attempts, retrying.seconds, error, namespace)
            record_call(context, called)
        elif key:
            context.recorder.effect_not_sent(key)


def stream(rpc: StreamingRpc[RequestT, ResponseT], request: RequestT) -> AsyncGenerator[ResponseT, None]:
    """Call a tool that streams its responses, from inside of a node of your own, and yield them.

    The call is retried as long as no response has arrived: those that the node has used cannot be revoked. It ends
    within the timeout of its policy, and when the node stops reading, if the stream is closed:
    `async with aclosing(stream(...)) as responses`.

    Raises:
        GraphmeshError: as `call`.
        RuntimeError: the program is not inside of a node.
    """
    loop, responses = run_context().loop, _stream(rpc, request)
    return loop.iterate(responses) if loop else responses


async def _stream(rpc: StreamingRpc[RequestT, ResponseT], request: RequestT) -> AsyncGenerator[ResponseT, None]:
    node, context = node_name(get_config()), run_context()
    error = cast(GraphmeshError | None, Cancelled(tool=rpc.tool))
    context.require_tool(rpc.tool)
    require_budget(context, rpc)
    policy = context.policies.of(rpc)
    if context.customer:
        require_customer(context.customer, policy.customer, request, rpc.path)
    task = current_task()
    headers = call_headers(context, policy, task, node, EffectKey())
    retrying = RetryingCall(rpc, policy, context, on_failure=partial(record_failed_usage, context, rpc))
    try:
        with tool_span(rpc, context, node, EffectKey(), retrying):
            async with aclosing(retrying.responses(request, headers)) as responses:
                async for response in responses:
                    record_usage(context, getattr(response, "completed", response))
                    yield response
        error = None
    except GraphmeshError as failure:
        error = failure
        raise
    finally:
        attempts, seconds = retrying.attempts, retrying.seconds
        record_call(context, ToolCalled(node, rpc.tool, EffectKey(), attempts, seconds, error, namespace_of(task)))


@contextmanager
def tool_span(
    rpc: Method[Any, Any], context: RunContext, node: str, key: EffectKey, retrying: RetryingCall
) -> Iterator[None]:
    """Trace a call of a tool, around its attempts."""
    attributes: dict[str, str | int] = {names.TOOL: rpc.tool, names.NODE: node, names.RUN: context.run_id}
    if key:
        attributes |= {names.EFFECT_KEY: names.shortened(key), names.EPOCH: context.epoch}
    with spans.span(f"tool {rpc.tool}", attributes=attributes) as span:
        try:
            yield
        finally:
            span.set({names.ATTEMPTS: retrying.attempts})


def record_call(context: RunContext, called: ToolCalled) -> None:
    """Record a call of the present node, and send it to the run's custom stream."""
    CALLS.record(called.seconds, {names.TOOL: called.tool, names.REASON: called.error.reason if called.error else ""})
    context.recorder.call_ended(called)
    get_runtime().stream_writer(called)


def require_budget(context: RunContext, rpc: Method[Any, Any]) -> None:
    """Raises TokenLimit or BudgetExceeded where `rpc` is a model's and the run may call no model any more."""
    if rpc.service == ModelService.NAME:
        context.budget.require_model_budget()


def record_usage(context: RunContext, response: Message) -> None:
    """Add the usage that a model's response reports to the run's budget, with that of failed attempts before it."""
    usage = getattr(response, "usage", None)
    if isinstance(usage, Usage):
        failed: Sequence[FailedAttempt] = getattr(response, "failed_attempts", ())
        for used in (usage, *(attempt.usage for attempt in failed)):
            context.budget.record_model_call(used.input_tokens, used.output_tokens, used.cost_micro_usd)


def record_failed_usage(context: RunContext, rpc: Method[Any, Any], error: GraphmeshError) -> None:
    """Add what a failed call of a model has used to the run's budget."""
    if rpc.service == ModelService.NAME:
        read, written, cost = (error.data.get(name, "") for name in FAILED_USAGE)
        if read.isdecimal() and written.isdecimal() and cost.isdecimal():
            context.budget.record_model_call(int(read), int(written), int(cost))


def call_headers(
    context: RunContext,
    policy: MethodPolicy,
    task: ExecutionInfo,
    node: str,
    key: EffectKey,
    approval: ApprovalAnswer | None = None,
) -> list[tuple[str, str]]:
    """Return the metadata of a call: the run's identity, with only the scopes that this call needs, and those of its
    caller that no contract declares."""
    headers = [
        (metadata.TENANT, context.tenant),
        (metadata.SUBJECT, context.subject),
        (metadata.SCOPES, " ".join(sorted(policy.scopes | context.caller_scopes()))),
        (metadata.RUN, context.run_id),
        (metadata.THREAD, task.thread_id or ""),
        (metadata.NODE, node),
    ]
    if context.client:
        headers.append((metadata.CLIENT, context.client))
    if context.customer:
        headers.append((metadata.CUSTOMER, context.customer))
    if limits := context.budget.model_limits:
        headers.append((metadata.RUN_LIMITS, limits))
    if approval:
        headers += [(metadata.APPROVAL, approval.approval_id), (metadata.APPROVAL_DIGEST, approval.digest)]
    if not key:
        return headers
    return [*headers, (metadata.IDEMPOTENCY_KEY, key), (metadata.EPOCH, str(context.epoch))]


def _is_new(task: ExecutionInfo, context: RunContext) -> bool:
    """Return whether a task runs from a checkpoint that this execution has made: no earlier one can have begun it."""
    return bool(context.resumed_from) and not namespace_of(task) and task.checkpoint_id != context.resumed_from


def node_name(config: RunnableConfig) -> str:
    return str(config.get("metadata", {}).get("langgraph_node", ""))


def namespace_of(task: ExecutionInfo) -> tuple[str, ...]:
    """Return the subgraph of a task: the nodes around it, each with the id of its task."""
    return tuple(task.checkpoint_ns.split(NS_SEP)[:-1])


def current_task() -> ExecutionInfo:
    """Return the task of the present node. Raises RuntimeError outside of a graph."""
    task = get_runtime().execution_info
    if task is None:
        raise RuntimeError("tools and models of the mesh are called only inside of a graph")
    return task
