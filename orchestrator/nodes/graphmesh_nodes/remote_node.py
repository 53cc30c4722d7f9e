"""Remote nodes: a typed RPC of a tool service as a node of a graph.

    builder.add_node(
        "refund",
        remote(
            BillingService.Refund,
            request=lambda state: RefundRequest(charge_id=state["charge_id"], amount=state["amount"], cause="damaged"),
            update=lambda state, response: {"refund_id": response.refund.refund_id},
            fallback=degrade(lambda state, error: {"notes": [f"The refund could not be made: {error}"]}),
        ),
    )

The RPC's policy determines its timeout, its attempts, its scopes, and whether it is an effect. An effect carries a key
that is the same in every repeat, and is not sent before the checkpoint that its node runs from is durable.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from google.protobuf.message import Message
from graphmesh_contracts import Rpc
from langgraph.types import Command

from graphmesh_nodes.approval import ApprovalRule
from graphmesh_nodes.calls import call
from graphmesh_nodes.errors import GraphmeshError
from graphmesh_nodes.fallbacks import Fallback, Node, Update, set_escalation_targets
from graphmesh_nodes.unsaved_graphs import set_rpc

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


def remote(
    rpc: Rpc[RequestT, ResponseT],
    *,
    request: Callable[[Any], RequestT],
    update: Callable[[Any, ResponseT], Update | Command[Any]],
    fallback: Fallback | None = None,
    refusals: Mapping[type[GraphmeshError], Fallback] = MappingProxyType({}),
    approval: ApprovalRule | None = None,
    expect: Callable[[Any, ResponseT], str] | None = None,
) -> Node:
    """Make a node of a graph out of an RPC.

    Args:
        rpc: the RPC to call: `graphmesh.billing.v1.BillingService.Refund`.
        request: returns the RPC's request for a state.
        update: returns the update of the state for a state and a response, or a `Command`.
        fallback: the alternative where the service cannot answer: `degrade`, `instead` or `escalate`.
        refusals: the alternatives where the service decides against the call, by the class of the error that it
            answers, such as `{NotFound: degrade(...)}`. A refusal without an entry ends the run: `fallback` is not for
            decisions.
        approval: the calls that need an approval, besides those of which the RPC's policy requires it:

                approval=ApprovalRule(
                    question=lambda state, request: f"Refund {request.charge_id}?",
                    scopes=("approvals.refund",),
                    ttl=timedelta(hours=4),
                    when=lambda state, request: request.amount.amount_minor > 10_000,
                )

            The run parks until an approver answers or the approval expires, which is a denial. The approved request is
            sent once; `{ApprovalDenied: degrade(...)}` among the refusals handles both kinds of denial.
        expect: returns the rule that a response breaks for a state, or "". Such a response is not believed: it is an
            `InvalidResponse`, which `fallback` handles.
    """

    if not isinstance(rpc, Rpc):
        raise TypeError(f"{rpc.tool} streams: call it with stream() in a node of your own")

    async def node(state: Any) -> Update | Command[Any]:
        try:
            message = request(state)
            needed = approval.request_for(state, message) if approval else None
            response = await call(rpc, message, approval=needed, expect=partial(expect, state) if expect else None)
        except GraphmeshError as error:
            handler = _handler_of(error, fallback, refusals)
            if handler is None:
                raise
            return await handler(state, error)
        return update(state, response)

    node.__name__ = rpc.method
    set_escalation_targets(node, (fallback, *refusals.values()))
    set_rpc(node, rpc)
    return node


def _handler_of(
    error: GraphmeshError, fallback: Fallback | None, refusals: Mapping[type[GraphmeshError], Fallback]
) -> Fallback | None:
    if error.is_refusal:
        return next((handler for refusal, handler in refusals.items() if isinstance(error, refusal)), None)
    return fallback
