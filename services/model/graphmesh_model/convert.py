"""Converts between the model service's protobuf messages and its domain."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from google.protobuf.message import Message
from graphmesh.model import v1 as pb
from graphmesh_chassis.validation import violations

from graphmesh_model import block_convert, domain, json_text, usage_convert
from graphmesh_model.block_convert import parsed
from graphmesh_model.catalogue import Entry
from graphmesh_model.errors import OutputInvalid
from graphmesh_model.schemas import parse_object, parse_schema

Piece = TypeVar("Piece")
MessageT = TypeVar("MessageT", bound=Message)

MAX_ANSWER_BYTES = 15 * 1024 * 1024
"""The bytes that clients receive in one message, less a margin."""

NO_ARGUMENTS: domain.Schema = {"type": "object", "properties": {}}

TOOL_USE = {
    pb.ToolChoiceMode.TOOL_CHOICE_MODE_UNSPECIFIED: domain.ToolUse.AUTO,
    pb.ToolChoiceMode.TOOL_CHOICE_MODE_AUTO: domain.ToolUse.AUTO,
    pb.ToolChoiceMode.TOOL_CHOICE_MODE_NONE: domain.ToolUse.NONE,
    pb.ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED: domain.ToolUse.REQUIRED,
}
FINISH_REASON = {
    domain.FinishReason.STOP: pb.FinishReason.FINISH_REASON_STOP,
    domain.FinishReason.LENGTH: pb.FinishReason.FINISH_REASON_LENGTH,
    domain.FinishReason.TOOL_CALLS: pb.FinishReason.FINISH_REASON_TOOL_CALLS,
    domain.FinishReason.CONTENT_FILTER: pb.FinishReason.FINISH_REASON_CONTENT_FILTER,
}


def prompt(message: pb.Prompt) -> domain.Prompt:
    """Convert the prompt of a request.

    Raises:
        InvalidRequest: a field of JSON text is not valid JSON, or not a JSON object or JSON Schema as required.
    """
    schema = message.response_schema_json
    return domain.Prompt(
        messages=tuple(_message(each, f"prompt.messages[{index}]") for index, each in enumerate(message.messages)),
        tools=tuple(_tool(each, f"prompt.tools[{index}]") for index, each in enumerate(message.tools)),
        tool_choice=domain.ToolChoice(TOOL_USE[message.tool_choice.mode], message.tool_choice.tool_name or None),
        response_schema=parsed(parse_schema, schema, "prompt.response_schema_json") if schema else None,
        temperature=message.temperature if message.HasField("temperature") else None,
        max_output_tokens=message.max_output_tokens or None,
        stop=tuple(message.stop),
        top_p=message.top_p if message.HasField("top_p") else None,
        parallel_tool_calls=message.parallel_tool_calls if message.HasField("parallel_tool_calls") else None,
        strict=message.strict,
        unchecked_tool_calls=message.unchecked_tool_calls,
    )


def _message(message: pb.ChatMessage, field: str) -> domain.Message:
    match message.WhichOneof("content"):
        case "system":
            return domain.System(message.system.text)
        case "user":
            blocks = block_convert.blocks(message.user.blocks, f"{field}.user")
            return domain.User(message.user.text or domain.text_of(blocks), blocks)
        case "assistant":
            return _assistant(message.assistant, f"{field}.assistant")
        case _:
            result = message.tool_result
            blocks = block_convert.blocks(result.blocks, f"{field}.tool_result")
            text = result.text or domain.text_of(blocks)
            return domain.ToolResult(result.tool_call_id, text, result.is_error, blocks)


def _assistant(message: pb.AssistantMessage, field: str) -> domain.Assistant:
    blocks = block_convert.blocks(message.blocks, field)
    text = message.text or domain.text_of(blocks)
    return domain.Assistant(text, _tool_calls(message, field), blocks, message.provider)


def _tool_calls(message: pb.AssistantMessage, field: str) -> tuple[domain.ToolCall, ...]:
    return tuple(_tool_call(call, f"{field}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls))


def _tool_call(call: pb.ToolCall, field: str) -> domain.ToolCall:
    return domain.ToolCall(call.id, call.name, parsed(parse_object, call.arguments_json, f"{field}.arguments_json"))


def _tool(message: pb.Tool, field: str) -> domain.Tool:
    schema = message.parameters_json
    parameters = parsed(parse_schema, schema, f"{field}.parameters_json") if schema else NO_ARGUMENTS
    return domain.Tool(message.name, message.description, parameters)


def checked(make: Callable[[Piece], MessageT], piece: Piece) -> MessageT:
    """Convert a part of an answer, and hold it to the contract: vendors send whatever they like.

    Raises:
        OutputInvalid: it breaks a rule of the contract, or no protobuf message can express it.
    """
    try:
        message = make(piece)
    except (ValueError, TypeError) as error:
        raise OutputInvalid("The answer has a value that no message can express", schema="message") from error
    if message.ByteSize() > MAX_ANSWER_BYTES:
        raise OutputInvalid(f"The answer has more than {MAX_ANSWER_BYTES} bytes", schema="message")
    if broken := violations(message):
        where = f"{broken[0].field} {broken[0].description}"
        raise OutputInvalid(f"The answer breaks the contract: {where}", schema="message", where=where)
    return message


def response(answer: domain.Answer) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        message=_assistant_message(answer.message),
        finish_reason=FINISH_REASON[answer.finish_reason],
        usage=usage_convert.usage(answer.usage, answer.cost_micro_usd),
        model=answer.model,
        provider=answer.provider,
        offline=answer.offline,
        vendor_answer_id=answer.vendor_answer_id,
        failed_attempts=map(usage_convert.attempt, answer.failed_attempts),
        cached=answer.cached,
        cache_similarity=answer.cache_similarity,
    )


def _assistant_message(message: domain.Assistant) -> pb.AssistantMessage:
    return pb.AssistantMessage(
        text="" if message.blocks else message.text,
        tool_calls=[_tool_call_message(call) for call in message.tool_calls],
        blocks=[block_convert.block_message(block) for block in message.blocks],
        provider=message.provider,
    )


def _tool_call_message(call: domain.ToolCall) -> pb.ToolCall:
    return pb.ToolCall(id=call.id, name=call.name, arguments_json=json_text.dumps(call.arguments))


def event(event: domain.StreamEvent) -> pb.StreamGenerateResponse:
    match event:
        case domain.TextDelta(text=text):
            return pb.StreamGenerateResponse(text_delta=text)
        case domain.ToolCallDelta():
            delta = pb.ToolCallDelta(
                index=event.index, id=event.id, name=event.name, arguments_json=event.arguments_json
            )
            return pb.StreamGenerateResponse(tool_call_delta=delta)
        case domain.ReasoningDelta():
            return pb.StreamGenerateResponse(reasoning_delta=block_convert.reasoning_delta(event))
        case domain.BlockDelta(block=block):
            return pb.StreamGenerateResponse(block=block_convert.block_message(block))
        case domain.Answer():
            return pb.StreamGenerateResponse(completed=response(event))
        case domain.UsageSoFar():
            raise ValueError("usage is a part of the answer")


def model(entry: Entry, now: datetime) -> pb.Model:
    price = entry.prices.at(now)
    return pb.Model(
        alias=entry.alias,
        provider=entry.provider.vendor,
        model=entry.provider.model,
        description=entry.provider.description,
        offline=entry.provider.offline,
        fallback_aliases=entry.fallbacks,
        price=pb.Price(**vars(price)) if price else None,
    )
