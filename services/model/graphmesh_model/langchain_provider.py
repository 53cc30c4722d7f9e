"""Adapts the chat models of LangChain, of any vendor, to the provider port."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from graphmesh_chassis.errors import GraphmeshError, ProviderUnavailable, RateLimited, RuleViolated
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable
from pydantic import SecretStr

from graphmesh_model.domain import (
    Answer,
    Assistant,
    FinishReason,
    Message,
    Prompt,
    StreamEvent,
    System,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolUse,
    Usage,
    User,
)
from graphmesh_model.errors import OutputInvalid

FINISH_REASONS = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "refusal": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
}
"""Vendors' finish reasons in lower case, without those that mean STOP or TOOL_CALLS."""
INVALID_REQUEST_STATUSES = frozenset({400, 413, 422})
"""HTTP status codes by which vendors reject a prompt."""
TOO_MANY_REQUESTS = 429
FENCE = "```"
"""The beginning and the end of a Markdown code fence, which models write even when instructed not to."""
ANSWER_IN_JSON = "Answer with one JSON value and nothing around it. It has to fit this JSON Schema:\n"


def open_model(
    name: str, description: str, api_key: SecretStr | None, parameters: Mapping[str, Any]
) -> "LangchainProvider":
    """Open the model that LangChain's `init_chat_model` knows as `name`, for example `openai:gpt-5`.

    Raises:
        ImportError: LangChain, or its package for the vendor, is not installed.
    """
    key = {} if api_key is None else {"api_key": api_key}
    vendor, _, model = name.partition(":")
    try:
        chat = import_module("langchain.chat_models").init_chat_model(name, max_retries=0, **key, **parameters)
    except ImportError as error:
        raise ImportError(f"{name} needs LangChain with its package for {vendor}: {error}") from error
    return LangchainProvider(chat, vendor, model, description)


class LangchainProvider:
    """A LangChain chat model. It must not retry: retries belong to the caller of this service."""

    offline = False

    def __init__(self, chat: BaseChatModel, vendor: str, model: str, description: str = "") -> None:
        self.vendor, self.model, self.description = vendor, model, description
        self._chat = chat

    async def answer(self, prompt: Prompt) -> Answer:
        with _translate_errors(self.vendor):
            message = await self._bound(prompt).ainvoke(_messages(prompt))
        return self._answer(message, prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[StreamEvent, None]:
        whole: AIMessageChunk | None = None
        with _translate_errors(self.vendor):
            async for chunk in self._bound(prompt).astream(_messages(prompt)):
                if isinstance(chunk, AIMessageChunk):
                    whole = chunk if whole is None else whole + chunk
                    for event in _stream_events(chunk):
                        yield event
        if whole is None:
            raise ProviderUnavailable(provider=self.vendor)
        yield self._answer(whole, prompt)

    def _bound(self, prompt: Prompt) -> Runnable[LanguageModelInput, AIMessage]:
        options_or_none = {
            "temperature": prompt.temperature,
            "max_tokens": prompt.max_output_tokens,
            "stop": list(prompt.stop) or None,
        }
        options = {name: value for name, value in options_or_none.items() if value is not None}
        if not prompt.tools or prompt.tool_choice.use is ToolUse.NONE:
            return self._chat.bind(**options)
        tools = [_tool(tool) for tool in prompt.tools]
        return self._chat.bind_tools(tools, tool_choice=_tool_choice(prompt), **options)

    def _answer(self, message: AIMessage, prompt: Prompt) -> Answer:
        if message.invalid_tool_calls:
            name = message.invalid_tool_calls[0]["name"] or ""
            raise OutputInvalid(model=self.model, schema=f"tool {name}")
        assistant = _assistant(message, in_json=prompt.response_schema is not None)
        metadata = message.response_metadata
        return Answer(
            message=assistant,
            finish_reason=_finish_reason(metadata, assistant),
            usage=_usage(message),
            model=str(metadata.get("model_name") or metadata.get("model") or self.model),
            provider=self.vendor,
        )


def _messages(prompt: Prompt) -> list[BaseMessage]:
    """Convert the conversation, with a response schema as an instruction in the system message.

    An instruction works for every vendor, with and without tools and streaming; the answer is validated in any case.
    """
    messages = [_message(message) for message in prompt.messages]
    if prompt.response_schema is None:
        return messages
    return [SystemMessage(ANSWER_IN_JSON + json.dumps(prompt.response_schema)), *messages]


def _message(message: Message) -> BaseMessage:
    match message:
        case System(text=text):
            return SystemMessage(text)
        case User(text=text):
            return HumanMessage(text)
        case ToolResult():
            status = "error" if message.is_error else "success"
            return ToolMessage(message.text, tool_call_id=message.tool_call_id, status=status)
        case Assistant(text=text, tool_calls=calls):
            tool_calls = [{"id": call.id, "name": call.name, "args": dict(call.arguments)} for call in calls]
            return AIMessage(text, tool_calls=tool_calls)


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _tool_choice(prompt: Prompt) -> str | None:
    """Convert to LangChain's `tool_choice`: a tool's name, `any`, or None for the model's own choice."""
    if prompt.tool_choice.use is not ToolUse.REQUIRED:
        return None
    return prompt.tool_choice.tool_name or "any"


def _assistant(message: AIMessage, *, in_json: bool) -> Assistant:
    calls = (
        ToolCall(call["id"] or f"call_{number}", call["name"], call["args"])
        for number, call in enumerate(message.tool_calls, start=1)
    )
    text = str(message.text)
    return Assistant(_without_fence(text) if in_json else text, tuple(calls))


def _without_fence(text: str) -> str:
    """Return the content of a Markdown fence around the whole text, or the text itself where it has none."""
    fenced = text.strip()
    if len(fenced) < 2 * len(FENCE) or not (fenced.startswith(FENCE) and fenced.endswith(FENCE)):
        return text
    return fenced[len(FENCE) : -len(FENCE)].removeprefix("json").strip()


def _stream_events(chunk: AIMessageChunk) -> Iterator[StreamEvent]:
    if chunk.text:
        yield TextDelta(str(chunk.text))
    for position, call in enumerate(chunk.tool_call_chunks):
        index = call["index"] if isinstance(call["index"], int) else position
        yield ToolCallDelta(index, call["id"] or "", call["name"] or "", call["args"] or "")


def _finish_reason(metadata: Mapping[str, Any], message: Assistant) -> FinishReason:
    reason = str(metadata.get("finish_reason") or metadata.get("stop_reason") or "").lower()
    default = FinishReason.TOOL_CALLS if message.tool_calls else FinishReason.STOP
    return FINISH_REASONS.get(reason, default)


def _usage(message: AIMessage) -> Usage:
    usage = message.usage_metadata
    if usage is None:
        return Usage(0, 0)
    cached = usage.get("input_token_details", {}).get("cache_read", 0)
    return Usage(usage["input_tokens"], usage["output_tokens"], cached)


@contextmanager
def _translate_errors(vendor: str) -> Iterator[None]:
    """Translate exceptions of the vendor's package, without their messages: those may quote the prompt."""
    try:
        yield
    except Exception as error:
        if not _is_vendor_error(error):
            raise
        raise _mesh_error(error, vendor) from error


def _is_vendor_error(error: Exception) -> bool:
    """Report whether a vendor's package or the network raised it; defects of this process are builtin exceptions."""
    return isinstance(error, OSError) or type(error).__module__ != "builtins"


def _mesh_error(error: Exception, vendor: str) -> GraphmeshError:
    status = _http_status(error)
    if status == TOO_MANY_REQUESTS:
        message = f"The provider {vendor} accepts no more calls at the moment"
        return RateLimited(message, retry_after=_retry_after(error), provider=vendor)
    if status in INVALID_REQUEST_STATUSES:
        message = f"The provider {vendor} rejected the request"
        return RuleViolated(message, rule="provider_refused", provider=vendor, status=status)
    return ProviderUnavailable(provider=vendor)


def _http_status(error: Exception) -> int | None:
    for source in (error, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            status = getattr(source, name, None)
            if isinstance(status, int):
                return status
    return None


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return float(headers.get("retry-after", ""))
    except ValueError:
        return None
