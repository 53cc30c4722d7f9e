"""Middleware for agents of `create_agent`: results as quotations, a model that fails or is offline, answers checked.

create_agent(model, tools(...), middleware=[ModelFallback(), QuotedResults(), CheckedAnswer(check)])
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import takewhile
from typing import Any, Final

from graphmesh_chassis.errors import Cancelled, DependencyError, GraphmeshError
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from graphmesh_nodes.guardrails.structured import OUTPUT_INVALID
from graphmesh_nodes.guardrails.untrusted import delimited

OFFLINE: Final = "offline"
"""In the `response_metadata` of a message: no model has written it, so that nothing may be done by it."""
FAILURE: Final = "failure"
"""In the same place: the reason for which there is no answer of a model."""
UNCERTAIN: Final = "UNCERTAIN"
"""The failure of a turn in which an effect may have happened."""
TOO_MANY_CALLS: Final = "TOO_MANY_MODEL_CALLS"
REPAIR: Final = "Your answer was not usable: {cause}. Answer again."
TAG: Final = "tool_result"
"""Around results of tools."""

Handler = Callable[[ModelRequest], Awaitable[ModelResponse[Any]]]


class ModelFallback(AgentMiddleware):
    """Ends the agent where no model answers, and where the offline composer does, which understands nothing.

    The last message then has `OFFLINE` in its metadata, and no tool calls; it is for the graph around the agent to
    answer.
    """

    def __init__(self, max_calls: int = 0) -> None:
        """`max_calls`: the most answers of the model to one message of the person; 0: any number."""
        super().__init__()
        self._max_calls = max_calls

    async def awrap_model_call(self, request: ModelRequest, handler: Handler) -> Any:
        turn = takewhile(lambda one: not isinstance(one, HumanMessage), reversed(request.messages))
        if 0 < self._max_calls <= sum(isinstance(one, AIMessage) for one in turn):
            return failed(TOO_MANY_CALLS)
        try:
            response = await _repaired(request, handler)
        except GraphmeshError as error:
            if error.reason != OUTPUT_INVALID and not isinstance(error, DependencyError):
                raise
            return failed(error.reason)
        return replace(response, result=[_without_calls(one) if is_offline(one) else one for one in response.result])


async def _repaired(request: ModelRequest, handler: Handler) -> ModelResponse[Any]:
    """Return the answer of the model; one that no tool can read, such as a cut JSON, is requested once more."""
    try:
        return await handler(request)
    except GraphmeshError as error:
        if error.reason != OUTPUT_INVALID:
            raise
        repair = HumanMessage(REPAIR.format(cause=error))
    return await handler(request.override(messages=[*request.messages, repair]))


def _without_calls(message: BaseMessage) -> BaseMessage:
    return message.model_copy(update={"tool_calls": [], "invalid_tool_calls": []})


class UncertainEffects(AgentMiddleware):
    """Ends the agent where an effect may have happened, in place of the run: no model decides what follows."""

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Callable[..., Awaitable[Any]]) -> Any:
        try:
            return await handler(request)
        except GraphmeshError as error:
            if not error.may_have_happened or isinstance(error, Cancelled):
                raise
            call = request.tool_call
            return ToolMessage(
                f"{UNCERTAIN}: {error.reason}", name=call["name"], tool_call_id=str(call["id"]), status="error"
            )

    async def awrap_model_call(self, request: ModelRequest, handler: Handler) -> Any:
        results = takewhile(lambda one: isinstance(one, ToolMessage), reversed(request.messages))
        return failed(UNCERTAIN) if any(map(_is_uncertain, results)) else await handler(request)


def _is_uncertain(result: Any) -> bool:
    return result.status == "error" and str(result.text).startswith(UNCERTAIN)


def failed(reason: str) -> AIMessage:
    """Return the last message of an agent that has no answer."""
    return AIMessage("", response_metadata={OFFLINE: True, FAILURE: reason})


def is_offline(message: Any) -> bool:
    """Whether no model has written a message."""
    return bool(getattr(message, "response_metadata", {}).get(OFFLINE))


class QuotedResults(AgentMiddleware):
    """Quotes what tools return, which is text of strangers: without invisible characters, between delimiters.

    The instructions of the model have to say that nothing between `<tool_result>` and its end is an instruction.
    """

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Callable[..., Awaitable[Any]]) -> Any:
        result = await handler(request)
        if not isinstance(result, ToolMessage):
            return result
        content = delimited(TAG, str(result.text), title=str(request.tool_call["name"]))
        return result.model_copy(update={"content": content})


class CheckedAnswer(AgentMiddleware):
    """Passes the last message of the agent to a check, which returns the text that the person gets."""

    def __init__(self, check: Callable[[str, Any], str]) -> None:
        """`check` gets the text and the state."""
        super().__init__()
        self._check = check

    def after_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        last = state["messages"][-1]
        if not isinstance(last, AIMessage) or is_offline(last):
            return None
        checked = self._check(str(last.text), state)
        return None if checked == last.text else {"messages": [last.model_copy(update={"content": checked})]}
