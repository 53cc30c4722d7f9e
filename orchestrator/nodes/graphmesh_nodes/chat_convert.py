"""Conversion between the messages of LangChain and those of the model service."""

import json
from collections.abc import Mapping
from typing import Any

from graphmesh.model import v1 as pb
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

TOOL_CHOICES: Mapping[str | bool, pb.ToolChoiceMode.ValueType] = {
    "auto": pb.ToolChoiceMode.TOOL_CHOICE_MODE_AUTO,
    "none": pb.ToolChoiceMode.TOOL_CHOICE_MODE_NONE,
    "any": pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED,
    "required": pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED,
    True: pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED,
}
"""LangChain's names of tool choices; any other choice is the name of the tool to call."""


def message(message: BaseMessage) -> pb.ChatMessage:
    """Raises ValueError for messages and contents that the service does not take, images among them."""
    text = _text(message)
    match message:
        case SystemMessage():
            return pb.ChatMessage(system=pb.SystemMessage(text=text))
        case HumanMessage():
            return pb.ChatMessage(user=pb.UserMessage(text=text))
        case AIMessage():
            calls = [_tool_call(call) for call in message.tool_calls]
            return pb.ChatMessage(assistant=pb.AssistantMessage(text=text, tool_calls=calls))
        case ToolMessage():
            failed = message.status == "error"
            result = pb.ToolResult(tool_call_id=message.tool_call_id, text=text, is_error=failed)
            return pb.ChatMessage(tool_result=result)
        case _:
            raise ValueError(f"the model service takes no message of type {message.type}")


def _text(message: BaseMessage) -> str:
    blocks = message.content if isinstance(message.content, list) else []
    types = {block.get("type", "") for block in blocks if isinstance(block, dict)}
    if unsupported := types - {"text", "tool_use", "tool_call"}:
        raise ValueError(f"the model service takes text only, not {', '.join(sorted(unsupported))}")
    return str(message.text)


def _tool_call(call: Mapping[str, Any]) -> pb.ToolCall:
    return pb.ToolCall(id=call["id"] or "", name=call["name"], arguments_json=json.dumps(call["args"]))


def tool(function: Mapping[str, Any]) -> pb.Tool:
    parameters = json.dumps(function["parameters"]) if function.get("parameters") else ""
    return pb.Tool(name=function["name"], description=function.get("description", ""), parameters_json=parameters)


def tool_choice(choice: str | bool | None) -> pb.ToolChoice | None:
    if choice is None or choice is False:
        return None
    if choice in TOOL_CHOICES:
        return pb.ToolChoice(mode=TOOL_CHOICES[choice])
    return pb.ToolChoice(mode=pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED, tool_name=str(choice))


def tool_call(call: pb.ToolCall) -> Any:
    return {"type": "tool_call", "id": call.id, "name": call.name, "args": json.loads(call.arguments_json)}


def chunk(event: pb.StreamGenerateResponse) -> AIMessageChunk:
    match event.WhichOneof("event"):
        case "text_delta":
            return AIMessageChunk(content=event.text_delta)
        case "tool_call_delta":
            return AIMessageChunk(content="", tool_call_chunks=[_tool_call_chunk(event.tool_call_delta)])
        case _:
            return AIMessageChunk(
                content="",
                usage_metadata=usage(event.completed.usage),
                response_metadata=metadata(event.completed),
                chunk_position="last",
            )


def _tool_call_chunk(delta: pb.ToolCallDelta) -> ToolCallChunk:
    return ToolCallChunk(
        type="tool_call_chunk",
        index=delta.index,
        id=delta.id or None,
        name=delta.name or None,
        args=delta.arguments_json,
    )


def usage(used: pb.Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        total_tokens=used.input_tokens + used.output_tokens,
        input_token_details={"cache_read": used.cached_input_tokens},
    )


def metadata(response: pb.GenerateResponse) -> dict[str, Any]:
    """Return model, provider, finish reason and cost under the names that LangChain's own models use."""
    reason = pb.FinishReason.Name(response.finish_reason).removeprefix("FINISH_REASON_").lower()
    cost = response.usage.cost_micro_usd if response.usage.HasField("cost_micro_usd") else None
    return {
        "model_name": response.model,
        "model_provider": response.provider,
        "finish_reason": reason,
        "offline": response.offline,
        "cost_micro_usd": cost,
    }
