"""Composes the answer to a prompt by rule."""

import re
from collections.abc import Iterator
from itertools import takewhile

from graphmesh_model import json_text
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
from graphmesh_model.offline.choices import Choice, select
from graphmesh_model.offline.conversation import Conversation
from graphmesh_model.offline.schema_filler import NO_RELEVANT_SENTENCE, Filler, Unfillable
from graphmesh_model.offline.text import TOKEN, count_tokens, stems

PROVIDER = "offline"
MODEL = "offline-extractive-1"
DESCRIPTION = (
    "Offline demo composer, not a language model: it quotes the conversation's own documents and fills schemas by "
    "counting shared words. The same request always gets the same answer."
)
NO_DOCUMENTS = "This is the offline demo composer, not a language model: it quotes documents, and it was given none."
MIN_TOOL_OVERLAP = 2
"""Stems that the question must share with a tool's description before the tool is called without being required."""
CHUNK = re.compile(r"\S+\s*|\s+")


def compose(prompt: Prompt) -> Answer:
    """Answer `prompt` with a tool call, a filled schema, or quotes of the documents.

    Raises:
        Unfillable: a schema requires a value that the conversation does not contain.
        SchemaTooLarge: a schema describes too many values.
    """
    conversation = Conversation.from_messages(prompt.messages)
    if call := _tool_call(prompt, conversation):
        return _answer(prompt, Assistant(tool_calls=(call,)), FinishReason.TOOL_CALLS)
    text, reason = _apply_limits(_text(prompt, conversation), prompt)
    return _answer(prompt, Assistant(text=text), reason)


def stream_events(answer: Answer) -> Iterator[StreamEvent]:
    """Split `answer` into the events of a stream: text word by word, tool calls, then the whole answer."""
    for chunk in CHUNK.findall(answer.message.text):
        yield TextDelta(chunk)
    for index, call in enumerate(answer.message.tool_calls):
        yield ToolCallDelta(index, call.id, call.name, json_text.dumps(call.arguments))
    yield answer


def _tool_call(prompt: Prompt, conversation: Conversation) -> ToolCall | None:
    tool = _required_tool(prompt, conversation) or _best_matching_tool(prompt, conversation)
    if tool is None:
        return None
    try:
        return ToolCall(_next_id(prompt), tool.name, Filler(tool.parameters, conversation).fill())
    except Unfillable:
        if prompt.tool_choice.use is ToolUse.REQUIRED:
            raise
        return None


def _required_tool(prompt: Prompt, conversation: Conversation) -> Tool | None:
    if prompt.tool_choice.use is not ToolUse.REQUIRED:
        return None
    named = [tool for tool in prompt.tools if prompt.tool_choice.tool_name in (None, tool.name)]
    called = _called(prompt)
    uncalled = [tool for tool in named if tool.name not in called]
    chosen: Tool = select(_as_choices(uncalled or named), conversation.question_stems).choice.value
    return chosen


def _called(prompt: Prompt) -> set[str]:
    """Return the tools that were called since the user's last message.

    An agent that requires a tool in each turn, until one of them is the answer, would not end otherwise.
    """
    since = takewhile(lambda message: not isinstance(message, User), reversed(prompt.messages))
    return {call.name for message in since if isinstance(message, Assistant) for call in message.tool_calls}


def _best_matching_tool(prompt: Prompt, conversation: Conversation) -> Tool | None:
    """Return the tool that clearly shares most stems with the question; None directly after a tool's result."""
    answered = isinstance(prompt.messages[-1], ToolResult)
    if prompt.tool_choice.use is not ToolUse.AUTO or not prompt.tools or answered:
        return None
    selection = select(_as_choices(prompt.tools), conversation.question_stems)
    tool: Tool = selection.choice.value
    return tool if selection.overlap >= MIN_TOOL_OVERLAP and selection.margin > 0 else None


def _as_choices(tools: list[Tool] | tuple[Tool, ...]) -> list[Choice]:
    return [Choice(tool, stems(f"{tool.name} {tool.description}")) for tool in tools]


def _next_id(prompt: Prompt) -> str:
    earlier = sum(len(message.tool_calls) for message in prompt.messages if isinstance(message, Assistant))
    return f"call_{earlier + 1}"


def _text(prompt: Prompt, conversation: Conversation) -> str:
    if prompt.response_schema is not None:
        return json_text.dumps(Filler(prompt.response_schema, conversation).fill())
    if not conversation.documents:
        return NO_DOCUMENTS
    return " ".join(quote.text for quote in conversation.quotes) or NO_RELEVANT_SENTENCE


def _apply_limits(text: str, prompt: Prompt) -> tuple[str, FinishReason]:
    stops = [index for stop in prompt.stop if (index := text.find(stop)) >= 0]
    text = text[: min(stops)] if stops else text
    tokens = list(TOKEN.finditer(text))
    limit = prompt.max_output_tokens
    if limit is None or len(tokens) <= limit:
        return text, FinishReason.STOP
    return text[: tokens[limit - 1].end()], FinishReason.LENGTH


def _answer(prompt: Prompt, message: Assistant, reason: FinishReason) -> Answer:
    usage = Usage(input_tokens=count_tokens(_prompt_text(prompt)), output_tokens=count_tokens(_message_text(message)))
    return Answer(message, reason, usage, MODEL, PROVIDER, offline=True)


def _prompt_text(prompt: Prompt) -> str:
    tools = (f"{tool.name} {tool.description} {json_text.dumps(tool.parameters)}" for tool in prompt.tools)
    schema = () if prompt.response_schema is None else (json_text.dumps(prompt.response_schema),)
    return "\n".join((*map(_message_text, prompt.messages), *tools, *schema))


def _message_text(message: Message) -> str:
    match message:
        case System(text=text) | User(text=text) | ToolResult(text=text):
            return text
        case Assistant(text=text, tool_calls=calls):
            return "\n".join((text, *(f"{call.name} {json_text.dumps(call.arguments)}" for call in calls)))
