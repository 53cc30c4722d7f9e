"""Adapts the chat models of LangChain, of any vendor, to the provider port."""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from graphmesh_chassis.errors import ProviderUnavailable
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, SystemMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import Runnable

from graphmesh_model.accounting.totals import of_usages
from graphmesh_model.capabilities import media_kinds, require_supported, unsupported
from graphmesh_model.domain import (
    Answer,
    Assistant,
    FinishReason,
    Prompt,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolUse,
    Usage,
    UsageSoFar,
)
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.faults import Fault
from graphmesh_model.langchain_content import CallIds, StreamEvents, blocks_of, langchain_message
from graphmesh_model.schemas import parse_object
from graphmesh_model.vendor_errors import translated, unavailable

FINISH_REASONS = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "refusal": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
}
"""Vendors' finish reasons in lower case, without those that mean STOP or TOOL_CALLS."""
CALLS_TOOLS = frozenset({"tool_calls", "tool_use"})
"""The finish reasons that mean TOOL_CALLS."""
STATES_ITS_END = frozenset({"openai", "azure_openai", "anthropic"})
"""Vendors whose streams are cut off where they end without a finish reason."""
MAX_TEXT = 1_000_000
"""Characters of an answer with its reasoning and its calls, as the contract bounds them."""
MAX_CHUNKS = 200_000
"""Parts of a stream: models write a token in each, so an answer of so many has ended long before."""
MAX_EMPTY_CHUNKS = 1000
"""Parts without content in a row; some vendors send a few while a model reasons."""
CHUNKS_A_TURN = 16
"""Parts of a stream that are converted in one turn of the event loop."""
MAX_TOKENS = 100_000_000
"""More than any answer has; a count above it is none."""
FENCE = "```"
"""The beginning and the end of a Markdown code fence, which models write even when instructed not to."""
ANSWER_IN_JSON = "Answer with one JSON value and nothing around it. It has to fit this JSON Schema:\n"


NO_OPTIONS: Mapping[str, Any] = {}


class LangchainProvider:
    """A LangChain chat model. It must not retry: retries belong to the caller of this service."""

    offline = False

    def __init__(
        self,
        chat: BaseChatModel,
        vendor: str,
        model: str,
        description: str = "",
        options: Mapping[str, Any] = NO_OPTIONS,
    ) -> None:
        """`options` are further arguments of each call."""
        self.vendor, self.model, self.description = vendor, model, description
        self._chat, self._options = chat, options

    async def answer(self, prompt: Prompt) -> Answer:
        bound, messages = self._call(prompt)
        with self._translated(messages, prompt):
            message = await bound.ainvoke(messages)
        return self._answer(message, prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[StreamEvent, None]:
        bound, messages = self._call(prompt)
        chunks: list[AIMessageChunk] = []
        events, characters, empty, used = StreamEvents(), 0, 0, Usage(0, 0)
        with self._translated(messages, prompt):
            async with aclosing(_astream(bound, messages)) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if len(chunks) > MAX_CHUNKS:
                        raise unavailable(self.vendor, Fault.TOO_LARGE, f"the stream has more than {MAX_CHUNKS} parts")
                    empty += 1
                    if empty > MAX_EMPTY_CHUNKS:
                        raise unavailable(self.vendor, Fault.MALFORMED, f"{empty} parts of the stream have no content")
                    if not len(chunks) % CHUNKS_A_TURN:
                        await asyncio.sleep(0)  # a vendor that sends without a pause would stop all other calls
                    for event in events.of(chunk):
                        empty = 0
                        characters += _characters(event)
                        if characters > MAX_TEXT:
                            raise self._invalid("response", f"more than {MAX_TEXT} characters")
                        yield event
                    if chunk.usage_metadata:
                        yield UsageSoFar(used := of_usages([used, _usage(chunk)]))
            whole = _joined(chunks)
        if whole is None:
            raise unavailable(self.vendor, Fault.MALFORMED, "the stream was empty")
        if self.vendor in STATES_ITS_END and not _finish_text(whole.response_metadata):
            raise unavailable(self.vendor, Fault.CUT_OFF, "the stream was cut off")
        yield self._answer(whole, prompt)

    def _call(self, prompt: Prompt) -> tuple[Runnable[LanguageModelInput, AIMessage], list[BaseMessage]]:
        """Return the model with its options, and the messages.

        Raises:
            RuleViolated: the vendor does not take a part of the prompt.
        """
        require_supported(prompt, self._chat.profile or {}, self.vendor, self.model)
        return self._bound(prompt), _messages(prompt, self.vendor)

    @contextmanager
    def _translated(self, messages: Sequence[BaseMessage], prompt: Prompt) -> Iterator[None]:
        """Translate the exceptions of a call. Raises RuleViolated where the vendor does not take the prompt's media."""
        try:
            with translated(self.vendor, self.model):
                yield
        except ProviderUnavailable:
            if kinds := media_kinds(prompt):
                self._require_convertible(messages, kinds)
            raise

    def _require_convertible(self, messages: Sequence[BaseMessage], kinds: Sequence[str]) -> None:
        """Convert messages to the vendor's form once more: in the call, a refusal has looked like a bad answer.

        Raises:
            RuleViolated: the vendor does not take them.
        """
        try:
            # LangChain's integrations have it under this name, where they convert before they send.
            getattr(self._chat, "_get_request_payload", lambda messages: None)(messages)
        except (ValueError, NotImplementedError) as error:
            part = f"the {', '.join(kinds)} of a message in this form"
            raise unsupported(self.vendor, self.model, part) from error

    def _bound(self, prompt: Prompt) -> Runnable[LanguageModelInput, AIMessage]:
        options_or_none = {
            "temperature": prompt.temperature,
            "top_p": prompt.top_p,
            "max_tokens": prompt.max_output_tokens,
            "stop": list(prompt.stop) or None,
            "response_format": self._response_format(prompt),
        }
        given = {name: value for name, value in options_or_none.items() if value is not None}
        options: dict[str, Any] = {**self._options, **given}
        if not prompt.tools or prompt.tool_choice.use is ToolUse.NONE:
            return self._chat.bind(**options)
        for name, value in {"strict": prompt.strict or None, "parallel_tool_calls": prompt.parallel_tool_calls}.items():
            if value is not None:
                options[name] = self._option_of_tools(name, value)
        tools = [_tool(tool, strict=prompt.strict) for tool in prompt.tools]
        return self._chat.bind_tools(tools, tool_choice=_tool_choice(prompt), **options)

    def _option_of_tools(self, name: str, value: bool) -> bool:
        if name not in inspect.signature(type(self._chat).bind_tools).parameters:
            raise unsupported(self.vendor, self.model, name)
        return value

    def _response_format(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """Return LangChain's option for a schema that the vendor enforces."""
        if prompt.response_schema is None or not prompt.strict:
            return None
        name = str(prompt.response_schema.get("title", "answer"))
        schema = {"name": name, "schema": dict(prompt.response_schema), "strict": True}
        return {"type": "json_schema", "json_schema": schema}

    def _answer(self, message: AIMessage, prompt: Prompt) -> Answer:
        try:
            return self._converted(message, prompt)
        except OutputInvalid as error:
            error.usage, error.text = _usage(message), str(message.text)
            raise

    def _converted(self, message: AIMessage, prompt: Prompt) -> Answer:
        with translated(self.vendor, self.model):
            assistant = self._assistant(message, in_json=prompt.response_schema is not None)
            metadata = message.response_metadata
            return Answer(
                message=assistant,
                finish_reason=_finish_reason(message, assistant),
                usage=_usage(message),
                model=str(metadata.get("model_name") or metadata.get("model") or self.model),
                provider=self.vendor,
                vendor_answer_id=_vendor_id(message),
            )

    def _assistant(self, message: AIMessage, *, in_json: bool) -> Assistant:
        if message.invalid_tool_calls:
            raise self._invalid(f"tool {message.invalid_tool_calls[0]['name'] or ''}", "no JSON")
        if isinstance(message, AIMessageChunk):
            self._require_complete_calls(message)
        ids = CallIds()
        calls = tuple(ToolCall(ids.unique(call["id"]), call["name"], call["args"]) for call in message.tool_calls)
        if not calls and _finish_text(message.response_metadata) in CALLS_TOOLS:
            raise self._invalid("tools", "it states tool calls and has none")
        refusal = message.additional_kwargs.get("refusal")
        text = str(message.text) or str(refusal or "")
        blocks = () if in_json else blocks_of(message)
        provider = self.vendor if blocks else ""
        return Assistant(_without_fence(text) if in_json else text, calls, blocks, provider)

    def _require_complete_calls(self, message: AIMessageChunk) -> None:
        """Check the arguments of streamed calls: LangChain completes those that are cut off, `{"amount": 10`.

        Raises:
            OutputInvalid: they are not a JSON object.
        """
        for call in message.tool_call_chunks:
            try:
                parse_object(call["args"] or "{}")
            except ValueError:
                raise self._invalid(f"tool {call['name'] or ''}", "no JSON") from None

    def _invalid(self, schema: str, where: str) -> OutputInvalid:
        message = f"The answer of {self.model} does not fit the schema of the {schema}: {where}"
        return OutputInvalid(message, model=self.model, schema=schema, where=where)


async def _astream(
    bound: Runnable[LanguageModelInput, AIMessage], messages: Sequence[BaseMessage]
) -> AsyncGenerator[AIMessageChunk, None]:
    async for chunk in bound.astream(list(messages)):
        if isinstance(chunk, AIMessageChunk):
            yield chunk


def _characters(event: StreamEvent) -> int:
    match event:
        case TextDelta(text=text):
            return len(text)
        case ReasoningDelta(reasoning=reasoning):
            return len(reasoning.text)
        case ToolCallDelta(arguments_json=arguments):
            return len(arguments)
    return 0


def _joined(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk | None:
    return add_ai_message_chunks(chunks[0], *chunks[1:]) if chunks else None


def _messages(prompt: Prompt, vendor: str) -> list[BaseMessage]:
    """Convert the conversation, with a response schema as an instruction in the system message.

    An instruction works for every vendor, with and without tools and streaming; the answer is validated in any case.
    """
    messages = [langchain_message(message, vendor) for message in prompt.messages]
    if prompt.response_schema is None or prompt.strict:
        return messages
    return [SystemMessage(ANSWER_IN_JSON + json.dumps(prompt.response_schema)), *messages]


def _tool(tool: Tool, *, strict: bool) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    if strict:
        function["strict"] = True  # LangChain adds it to functions and classes only
    return {"type": "function", "function": function}


def _tool_choice(prompt: Prompt) -> str | None:
    """Convert to LangChain's `tool_choice`: a tool's name, `any`, or None for the model's own choice."""
    if prompt.tool_choice.use is not ToolUse.REQUIRED:
        return None
    return prompt.tool_choice.tool_name or "any"


def _without_fence(text: str) -> str:
    """Return the content of a Markdown fence around the whole text, or the text itself where it has none."""
    fenced = text.strip()
    if len(fenced) < 2 * len(FENCE) or not (fenced.startswith(FENCE) and fenced.endswith(FENCE)):
        return text
    return fenced[len(FENCE) : -len(FENCE)].removeprefix("json").strip()


def _finish_text(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("status") or "").lower()


def _finish_reason(message: AIMessage, answer: Assistant) -> FinishReason:
    if message.additional_kwargs.get("refusal"):
        return FinishReason.CONTENT_FILTER
    default = FinishReason.TOOL_CALLS if answer.tool_calls else FinishReason.STOP
    return FINISH_REASONS.get(_finish_text(message.response_metadata), default)


def _vendor_id(message: AIMessage) -> str:
    """Return the vendor's id of an answer; LangChain gives ids of its own to messages without one."""
    found = str(message.response_metadata.get("id") or message.id or "")
    return "" if found.startswith(("lc_", "run-")) else found[:200]


def _usage(message: AIMessage) -> Usage:
    usage = message.usage_metadata
    if usage is None:
        return Usage(0, 0)
    read, written = usage.get("input_token_details", {}), usage.get("output_token_details", {})
    return Usage(
        input_tokens=_count(usage["input_tokens"]),
        output_tokens=_count(usage["output_tokens"]),
        cached_input_tokens=_count(read.get("cache_read")),
        cache_written_input_tokens=_count(read.get("cache_creation")),
        reasoning_output_tokens=_count(written.get("reasoning")),
        audio_input_tokens=_count(read.get("audio")),
        audio_output_tokens=_count(written.get("audio")),
    )


def _count(tokens: Any) -> int:
    """Return a vendor's count, 0 where it is none."""
    return tokens if isinstance(tokens, int) and 0 <= tokens <= MAX_TOKENS else 0
