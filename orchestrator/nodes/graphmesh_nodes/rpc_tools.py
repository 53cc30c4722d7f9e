"""RPCs as LangChain tools, for `ToolNode`, `create_agent` and every other prebuilt agent.

    agent = create_agent(GraphmeshChatModel(), tools=tools(BillingService, TicketingService.CreateTicket))

The effect key of a call is derived from the task and from the place of the call in the message that requests it, which
is stored before: two equal calls of a message are two effects, and a call that is repeated after a crash is one.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from graphmesh_chassis.errors import Fenced, IdempotencyKeyReused, LeaseExpired
from graphmesh_contracts import Idempotency, Rpc, method_policy
from graphmesh_contracts.message_json import message_text
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime

from graphmesh_nodes.approval import ApprovalRule
from graphmesh_nodes.calls import call
from graphmesh_nodes.context import wait_on_loop
from graphmesh_nodes.errors import (
    ApprovalMismatch,
    BudgetExceeded,
    Cancelled,
    GraphmeshError,
    StepLimit,
    TokenLimit,
    WriteAheadRequired,
)
from graphmesh_nodes.model_tools import ToolSchema, tool_schema, tool_schemas

NOT_FOR_MODELS = (
    ApprovalMismatch,
    BudgetExceeded,
    Cancelled,
    Fenced,
    IdempotencyKeyReused,
    LeaseExpired,
    StepLimit,
    TokenLimit,
    WriteAheadRequired,
)
"""Errors of the run, not of the call: another call of the model would have them too."""


def tools(
    *targets: Rpc[Any, Any] | type[Any], approvals: Mapping[Rpc[Any, Any], ApprovalRule] = MappingProxyType({})
) -> list[BaseTool]:
    """Return the tools of RPCs, and of the RPCs of services that are visible to models.

    A model receives the response as JSON, and a refusal of the service or a failure that has changed nothing as an
    error text. Where an effect may have happened, the run ends with the error: a model must not repeat it.

    Args:
        targets: RPCs, such as `BillingService.Refund`, and services, such as `BillingService`.
        approvals: the rules of calls that need an approval, besides those of which the RPC's policy requires it; their
            functions get the graph's state and the request.

    Raises:
        ValueError: an RPC is not visible to models, or an approval is of an RPC that is none of the tools.
    """
    schemas = [schema for target in targets for schema in _schemas(target)]
    if unknown := approvals.keys() - {schema.rpc for schema in schemas}:
        raise ValueError(f"approvals of no tool: {', '.join(sorted(rpc.tool for rpc in unknown))}")
    return [_tool(schema, approvals.get(schema.rpc)) for schema in schemas]


def _schemas(target: Rpc[Any, Any] | type[Any]) -> Sequence[ToolSchema[Any]]:
    return [tool_schema(target)] if isinstance(target, Rpc) else tool_schemas(target)


def _tool(schema: ToolSchema[Any], approval: ApprovalRule | None) -> BaseTool:
    is_effect = method_policy(schema.rpc.descriptor).idempotency is not Idempotency.READ

    async def run(runtime: ToolRuntime, **arguments: Any) -> str:
        try:
            request = schema.parse(arguments)
            needed = approval.request_for(runtime.state, request) if approval else None
            response = await call(schema.rpc, request, ordinal=_place(runtime), approval=needed)
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
