"""Conversion between the messages of LangChain and those of the model service."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from graphmesh.model import v1 as pb
from graphmesh_chassis.errors import FieldViolation, InvalidRequest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk

from graphmesh_nodes import chat_content

TOOL_CHOICES: Mapping[str | bool, pb.ToolChoiceMode.ValueType] = {
    "auto": pb.ToolChoiceMode.TOOL_CHOICE_MODE_AUTO,
    "none": pb.ToolChoiceMode.TOOL_CHOICE_MODE_NONE,
    "any": pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED,
    "required": pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED,
    True: pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED,
}
"""LangChain's names of tool choices; any other choice is the name of the tool to call."""


def messages(conversation: Sequence[BaseMessage]) -> list[pb.ChatMessage]:
    """Convert a conversation.

    Raises:
        InvalidRequest: a message or a part of it that the service does not take; it names the message.
    """
    return [_message(message, f"messages[{index}]") for index, message in enumerate(conversation)]


def _message(message: BaseMessage, field: str) -> pb.ChatMessage:
    try:
        return _converted(message)
    except ValueError as error:
        raise InvalidRequest(violations=[FieldViolation(field, str(error))]) from error


def _converted(message: BaseMessage) -> pb.ChatMessage:
    """Raises ValueError for messages and contents that the service does not take."""
    plain = chat_content.is_plain(message)
    text, blocks = (str(message.text), []) if plain else ("", chat_content.blocks(message))
    match message:
        case SystemMessage():
            if not plain:
                raise ValueError("is a system message with more than text, which the model service does not take")
            return pb.ChatMessage(system=pb.SystemMessage(text=text))
        case HumanMessage():
            return pb.ChatMessage(user=pb.UserMessage(text=text, blocks=blocks))
        case AIMessage():
            calls = [_tool_call(call) for call in message.tool_calls]
            provider = str(message.response_metadata.get("provider", "")) if blocks else ""
            assistant = pb.AssistantMessage(text=text, tool_calls=calls, blocks=blocks, provider=provider)
            return pb.ChatMessage(assistant=assistant)
        case ToolMessage():
            failed = message.status == "error"
            result = pb.ToolResult(tool_call_id=message.tool_call_id, text=text, is_error=failed, blocks=blocks)
            return pb.ChatMessage(tool_result=result)
        case _:
            raise ValueError(f"is of type {message.type}, which the model service does not take")


def _tool_call(call: Mapping[str, Any]) -> pb.ToolCall:
    return pb.ToolCall(id=call["id"] or "", name=call["name"], arguments_json=json.dumps(call["args"]))


def tool(tool: Mapping[str, Any]) -> pb.Tool:
    """Convert a tool in OpenAI's form. Raises InvalidRequest for a tool that the vendor itself would execute."""
    function = tool.get("function")
    if not function:
        rule = f"has {tool.get('type')}, a tool of a vendor: the model service takes functions only"
        raise InvalidRequest(violations=[FieldViolation("tools", rule)])
    parameters = json.dumps(function["parameters"]) if function.get("parameters") else ""
    return pb.Tool(name=function["name"], description=function.get("description", ""), parameters_json=parameters)


def tool_choice(choice: str | bool | Mapping[str, Any] | None) -> pb.ToolChoice | None:
    """Convert a choice in LangChain's, OpenAI's or Anthropic's form."""
    if choice is None or choice is False:
        return None
    if isinstance(choice, Mapping):
        named = choice.get("function", choice).get("name")
        return tool_choice(named or choice.get("type"))
    if choice in TOOL_CHOICES:
        return pb.ToolChoice(mode=TOOL_CHOICES[choice])
    return pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED, tool_name=str(choice))


def answer(response: pb.GenerateResponse) -> AIMessage:
    calls = [_langchain_call(call) for call in response.message.tool_calls]
    return AIMessage(
        content=chat_content.content(response.message),
        tool_calls=calls,
        usage_metadata=usage(response.usage),
        response_metadata=metadata(response),
    )


def _langchain_call(call: pb.ToolCall) -> Any:
    return {"type": "tool_call", "id": call.id, "name": call.name, "args": json.loads(call.arguments_json)}


class StreamedAnswer:
    """Converts the events of one stream to the chunks of one message."""

    def __init__(self) -> None:
        self._content = chat_content.StreamedContent()

    def chunk(self, event: pb.StreamGenerateResponse) -> AIMessageChunk:
        match event.WhichOneof("event"):
            case "tool_call_delta":
                return AIMessageChunk(content="", tool_call_chunks=[_tool_call_chunk(event.tool_call_delta)])
            case "completed":
                return AIMessageChunk(
                    content="",
                    usage_metadata=usage(event.completed.usage),
                    response_metadata=metadata(event.completed),
                    chunk_position="last",
                )
        return AIMessageChunk(content=self._content.of(event))


def _tool_call_chunk(delta: pb.ToolCallDelta) -> ToolCallChunk:
    return ToolCallChunk(
        type="tool_call_chunk",
        index=delta.index,
        id=delta.id or None,
        name=delta.name or None,
        args=delta.arguments_json,
    )


def usage(used: pb.Usage) -> UsageMetadata:
    """Return the counts of tokens; details that are 0 are left out."""
    read = {"cache_read": used.cached_input_tokens, "cache_creation": used.cache_written_input_tokens}
    written = {"reasoning": used.reasoning_output_tokens, "audio": used.audio_output_tokens}
    metadata = UsageMetadata(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        total_tokens=used.input_tokens + used.output_tokens,
    )
    if details := _counted({**read, "audio": used.audio_input_tokens}):
        metadata["input_token_details"] = details
    if details := _counted(written):
        metadata["output_token_details"] = details
    return metadata


def _counted(tokens: Mapping[str, int]) -> Any:
    return {name: count for name, count in tokens.items() if count}


def metadata(response: pb.GenerateResponse) -> dict[str, Any]:
    """Return model, finish reason and cost under the names that LangChain's own models use.

    The vendor is `provider`: by `model_provider` LangChain means the integration whose form the content has.
    """
    reason = pb.FinishReason.Name(response.finish_reason).removeprefix("FINISH_REASON_").lower()
    cost = response.usage.cost_micro_usd if response.usage.HasField("cost_micro_usd") else None
    vendor_id = {"id": response.vendor_answer_id} if response.vendor_answer_id else {}
    return {
        **vendor_id,
        "model_name": response.model,
        "model_provider": "graphmesh",
        "provider": response.provider,
        "finish_reason": reason,
        "offline": response.offline,
        "cost_micro_usd": cost,
    }
