"""The offline demo composer: one prompt in, one answer out, by rule."""

import re
from collections.abc import Iterator

from graphmesh_model import json_text
from graphmesh_model.domain import (
    Answer,
    Assistant,
    FinishReason,
    Message,
    Piece,
    Prompt,
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
from graphmesh_model.offline.choices import Choice, decide
from graphmesh_model.offline.filler import NOTHING_FOUND, Filler, Unfillable
from graphmesh_model.offline.material import Material
from graphmesh_model.offline.words import TOKEN, count_tokens, words

PROVIDER = "offline"
MODEL = "offline-extractive-1"
DESCRIPTION = (
    "Offline demo composer, not a language model: it quotes the conversation's own documents and fills schemas by "
    "counting shared words. The same request always gets the same answer."
)
NO_DOCUMENTS = "This is the offline demo composer, not a language model: it quotes documents, and it was given none."
CLEAR_OVERLAP = 2
"""How many words a person has to share with a tool's description for it to be called unasked."""
CHUNK = re.compile(r"\S+\s*|\s+")


def compose(prompt: Prompt) -> Answer:
    """The answer to `prompt`: a tool call, a filled schema, or quotes of the documents.

    Raises:
        Unfillable: a schema requires what the conversation does not hold.
        TooLarge: a schema describes too many values.
    """
    material = Material.of(prompt.messages)
    if call := _tool_call(prompt, material):
        return _answer(prompt, Assistant(tool_calls=(call,)), FinishReason.TOOL_CALLS)
    text, reason = _cut(_text(prompt, material), prompt)
    return _answer(prompt, Assistant(text=text), reason)


def pieces(answer: Answer) -> Iterator[Piece]:
    """`answer` in the pieces that a stream of it consists of."""
    for chunk in CHUNK.findall(answer.message.text):
        yield TextDelta(chunk)
    for index, call in enumerate(answer.message.tool_calls):
        yield ToolCallDelta(index, call.id, call.name, json_text.write(call.arguments))
    yield answer


def _tool_call(prompt: Prompt, material: Material) -> ToolCall | None:
    tool = _required_tool(prompt, material) or _wanted_tool(prompt, material)
    if tool is None:
        return None
    try:
        return ToolCall(_next_id(prompt), tool.name, Filler(tool.parameters, material).fill())
    except Unfillable:
        if prompt.tool_choice.use is ToolUse.REQUIRED:
            raise
        return None


def _required_tool(prompt: Prompt, material: Material) -> Tool | None:
    if prompt.tool_choice.use is not ToolUse.REQUIRED:
        return None
    named = [tool for tool in prompt.tools if prompt.tool_choice.tool_name in (None, tool.name)]
    chosen: Tool = decide(_as_choices(named), material.question_words).choice.value
    return chosen


def _wanted_tool(prompt: Prompt, material: Material) -> Tool | None:
    """The tool that the person's words speak for more clearly than for any other; none right after a tool's result."""
    answered = isinstance(prompt.messages[-1], ToolResult)
    if prompt.tool_choice.use is not ToolUse.AUTO or not prompt.tools or answered:
        return None
    verdict = decide(_as_choices(prompt.tools), material.question_words)
    tool: Tool = verdict.choice.value
    return tool if verdict.overlap >= CLEAR_OVERLAP and verdict.margin > 0 else None


def _as_choices(tools: list[Tool] | tuple[Tool, ...]) -> list[Choice]:
    return [Choice(tool, words(f"{tool.name} {tool.description}")) for tool in tools]


def _next_id(prompt: Prompt) -> str:
    earlier = sum(len(message.tool_calls) for message in prompt.messages if isinstance(message, Assistant))
    return f"call_{earlier + 1}"


def _text(prompt: Prompt, material: Material) -> str:
    if prompt.response_schema is not None:
        return json_text.write(Filler(prompt.response_schema, material).fill())
    if not material.documents:
        return NO_DOCUMENTS
    return " ".join(quote.text for quote in material.quotes) or NOTHING_FOUND


def _cut(text: str, prompt: Prompt) -> tuple[str, FinishReason]:
    places = [place for stop in prompt.stop if (place := text.find(stop)) >= 0]
    text = text[: min(places)] if places else text
    tokens = list(TOKEN.finditer(text))
    limit = prompt.max_output_tokens
    if limit is None or len(tokens) <= limit:
        return text, FinishReason.STOP
    return text[: tokens[limit - 1].end()], FinishReason.LENGTH


def _answer(prompt: Prompt, message: Assistant, reason: FinishReason) -> Answer:
    usage = Usage(input_tokens=count_tokens(_read(prompt)), output_tokens=count_tokens(_spoken(message)))
    return Answer(message, reason, usage, MODEL, PROVIDER, offline=True)


def _read(prompt: Prompt) -> str:
    tools = (f"{tool.name} {tool.description} {json_text.write(tool.parameters)}" for tool in prompt.tools)
    schema = () if prompt.response_schema is None else (json_text.write(prompt.response_schema),)
    return "\n".join((*map(_spoken, prompt.messages), *tools, *schema))


def _spoken(message: Message) -> str:
    match message:
        case System(text=text) | User(text=text) | ToolResult(text=text):
            return text
        case Assistant(text=text, tool_calls=calls):
            return "\n".join((text, *(f"{call.name} {json_text.write(call.arguments)}" for call in calls)))
