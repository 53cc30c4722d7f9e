"""RPCs as LangChain tools, for `ToolNode`, `create_agent` and every other prebuilt agent.

    agent = create_agent(GraphmeshChatModel(), tools=tools(BillingService, TicketingService.CreateTicket))

The effect key of a call is derived from the task and from the place of the call in the message that requests it, which
is stored before: two equal calls of a message are two effects, and a call that is repeated after a crash is one.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from inspect import isawaitable
from types import MappingProxyType
from typing import Any

from google.protobuf.json_format import MessageToDict
from graphmesh_chassis.customers import FIELD
from graphmesh_chassis.errors import Fenced, IdempotencyKeyReused, LeaseExpired
from graphmesh_contracts import Idempotency, Rpc, method_policy
from graphmesh_contracts.message_json import message_text
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime

from graphmesh_nodes.approval import ApprovalRule
from graphmesh_nodes.calls import call
from graphmesh_nodes.context import run_context, wait_on_loop
from graphmesh_nodes.errors import (
    ApprovalMismatch,
    BudgetExceeded,
    Cancelled,
    FieldViolation,
    GraphmeshError,
    InvalidInput,
    PolicyInvalid,
    StepLimit,
    TokenLimit,
    WriteAheadRequired,
)
from graphmesh_nodes.guardrails.confirmation import Declined, Message, Proposal
from graphmesh_nodes.guardrails.confirmation import confirm as ask
from graphmesh_nodes.model_tools import ToolSchema, field_names, tool_schema, tool_schemas

PATIENCE = timedelta(minutes=1)
NOT_FOR_MODELS = (
    ApprovalMismatch,
    BudgetExceeded,
    Cancelled,
    Fenced,
    IdempotencyKeyReused,
    LeaseExpired,
    PolicyInvalid,
    StepLimit,
    TokenLimit,
    WriteAheadRequired,
)
"""Errors of the run, not of the call: another call of the model would have them too."""


Bound = Mapping[str, str | Callable[[Any], Any]]
"""Names of fields that code sets, with the key of the state that has the value, or a function of the state."""


Confirm = Callable[[Rpc[Any, Any], Any, Any], Proposal | Awaitable[Proposal]]
"""Makes the proposal of a call of an RPC from the state and the request."""


def run_customer(state: Any) -> str:
    """Return the customer that the run is bound to, for `bound`; empty where it is bound to none."""
    return run_context().customer


def tools(
    *targets: Rpc[Any, Any] | type[Any],
    approvals: Mapping[Rpc[Any, Any], ApprovalRule] = MappingProxyType({}),
    bound: Bound = MappingProxyType({}),
    hidden: Collection[str] = (),
    confirm: Confirm | None = None,
    patience: timedelta = PATIENCE,
) -> list[BaseTool]:
    """Return the tools of RPCs, and of the RPCs of services that are visible to models.

    A model receives the response as JSON, and a refusal of the service or a failure that has changed nothing as an
    error text. Where an effect may have happened, the run ends with the error: a model must not repeat it.

    Args:
        targets: RPCs, such as `BillingService.Refund`, and services, such as `BillingService`.
        approvals: the rules of calls that need an approval, besides those of which the RPC's policy requires it; their
            functions get the graph's state and the request.
        bound: fields that identify, which the run sets and no model: they are not in the schemas, at whichever depth,
            and a model that states one is refused. The field `customer_id` is the customer that the calls are bound to:
            no record of another one is read or changed, by whichever id. Without a value the run ends.
        hidden: further fields that are in no schema, and are never set.
        confirm: makes a proposal of the call of each effect, which the person of the run has to accept before it is
            made: `proposal_of`, or a function of your own, which raises a GraphmeshError where it proposes nothing.
        patience: how long an effect is repeated, under its key, while its service cannot answer: a model that receives
            the failure has no better way to make it.

    Raises:
        ValueError: an RPC is not visible to models, an approval is of an RPC that is none of the tools, or no tool has
            a bound field.
    """
    schemas = [schema for target in targets for schema in _schemas(target, (*bound, *hidden))]
    if unknown := approvals.keys() - {schema.rpc for schema in schemas}:
        raise ValueError(f"approvals of no tool: {', '.join(sorted(rpc.tool for rpc in unknown))}")
    fields = frozenset[str]().union(*(field_names(one.rpc.descriptor.input_type) for one in schemas))
    if unused := {*bound, *hidden} - fields - {FIELD}:
        raise ValueError(f"bound fields of no tool: {', '.join(sorted(unused))}")
    return [_tool(schema, approvals.get(schema.rpc), bound, confirm, patience) for schema in schemas]


def _schemas(target: Rpc[Any, Any] | type[Any], set_by_code: Iterable[str]) -> Sequence[ToolSchema[Any]]:
    return [tool_schema(target, set_by_code)] if isinstance(target, Rpc) else tool_schemas(target, set_by_code)


def proposal_of(rpc: Rpc[Any, Any], state: Any, request: Any) -> Proposal:
    """Return the proposal of a call, with its arguments: for `confirm`."""
    arguments = MessageToDict(request, preserving_proto_field_name=True, descriptor_pool=request.DESCRIPTOR.file.pool)
    purpose = tool_schema(rpc).description.partition(".")[0]
    return Proposal(rpc.tool, f"Confirm {rpc.tool}? {purpose}.", {"arguments": arguments})


async def _require_confirmation(confirm: Confirm, rpc: Rpc[Any, Any], state: Any, request: Any) -> None:
    """Raises ToolException where the person does not accept the proposal of a call."""
    proposed = confirm(rpc, state, request)
    match ask(await proposed if isawaitable(proposed) else proposed):
        case Declined():
            raise ToolException("DECLINED: the person has declined this, nothing was done; do not propose it again")
        case Message(text):
            answer = json.dumps(text, ensure_ascii=False)
            raise ToolException(f"NOT_CONFIRMED: nothing was done; the person has answered: {answer}")


def _tool(
    schema: ToolSchema[Any], approval: ApprovalRule | None, bound: Bound, confirm: Confirm | None, patience: timedelta
) -> BaseTool:
    is_effect = method_policy(schema.rpc.descriptor).idempotency is not Idempotency.READ

    async def run(runtime: ToolRuntime, **arguments: Any) -> str:
        values = _values(bound, runtime.state)
        try:
            request = schema.parse(arguments, values)
            if is_effect and confirm:
                await _require_confirmation(confirm, schema.rpc, runtime.state, request)
            needed = approval.request_for(runtime.state, request) if approval else None
            customer = str(values.get(FIELD, ""))
            response = await call(
                schema.rpc,
                request,
                ordinal=_place(runtime),
                approval=needed,
                customer=customer,
                in_order=is_effect,
                patience=patience if is_effect else timedelta(),
            )
        except GraphmeshError as error:
            if (is_effect and error.may_have_happened) or isinstance(error, NOT_FOR_MODELS):
                raise
            raise ToolException(_text(error)) from error
        pool = response.DESCRIPTOR.file.pool  # of the messages in an Any
        return message_text(response, preserving_proto_field_name=True, descriptor_pool=pool)

    def run_synchronously(runtime: ToolRuntime, **arguments: Any) -> str:
        return wait_on_loop(lambda: run(runtime, **arguments))

    return StructuredTool(
        name=schema.name,
        description=schema.description,
        args_schema=dict(schema.parameters),
        func=run_synchronously,
        coroutine=run,
        handle_tool_error=True,
    )


def _values(bound: Bound, state: Any) -> Mapping[str, Any]:
    """Return the values of the bound fields. Raises InvalidInput where the run has none for one of them."""
    values = {name: source(state) if callable(source) else _member(state, source) for name, source in bound.items()}
    if missing := [name for name, value in values.items() if value in (None, "")]:
        violations = [FieldViolation(name, "is bound to the run, which has no value for it") for name in missing]
        raise InvalidInput(
            f"The run has no {' and no '.join(missing)}, which its tools are bound to", violations=violations
        )
    return values


def _member(state: Any, key: str) -> Any:
    return state.get(key) if isinstance(state, dict) else getattr(state, key, None)


def _place(runtime: ToolRuntime) -> int:
    """Return the place of a tool call in the message that requests it.

    Raises:
        ToolException: several calls of the message have the same id, which distinguishes none of them.
    """
    for message in reversed(_messages(runtime.state)):
        if isinstance(message, AIMessage):
            ids = [one["id"] for one in message.tool_calls]
            if ids.count(runtime.tool_call_id) > 1:
                raise ToolException(f"several tool calls have the id {runtime.tool_call_id}: give each its own")
            if runtime.tool_call_id in ids:
                return ids.index(runtime.tool_call_id)
    return 0


def _messages(state: Any) -> Sequence[Any]:
    """Return the messages of a state of any type, or a state that is a list of them."""
    found = state.get("messages") if isinstance(state, dict) else getattr(state, "messages", state)
    return found if isinstance(found, list) else ()


def _text(error: GraphmeshError) -> str:
    """Return what the model needs to correct its call: the reason, and every bad field."""
    fields = "; ".join(f"{violation.field} {violation.description}" for violation in error.violations)
    return f"{error.reason}: {error}{f' ({fields})' if fields else ''}"
