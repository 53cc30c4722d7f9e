"""Converts between the blocks of protobuf messages and those of the domain."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from graphmesh.model import v1 as pb
from graphmesh_chassis.errors import FieldViolation, InvalidRequest

from graphmesh_model import json_text
from graphmesh_model.domain import Block, Media, MediaKind, Reasoning, ReasoningDelta, Text, VendorBlock
from graphmesh_model.schemas import parse_object

Parsed = TypeVar("Parsed")


def parsed(parse: Callable[[str], Parsed], text: str, field: str) -> Parsed:
    """Parse the JSON text of a field.

    Raises:
        InvalidRequest: `parse` raised ValueError.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidRequest(violations=[FieldViolation(field, str(error))]) from error


def blocks(messages: Sequence[pb.ContentBlock], message: str) -> tuple[Block, ...]:
    """Convert the blocks of the message at the path `message`.

    Raises:
        InvalidRequest: a field of JSON text is not valid JSON of its type.
    """
    return tuple(_block(block, f"{message}.blocks[{index}]") for index, block in enumerate(messages))


def _block(message: pb.ContentBlock, field: str) -> Block:
    kind = message.WhichOneof("block")
    match kind:
        case "text":
            annotations = message.text.annotations_json
            return Text(
                message.text.text,
                parsed(_parse_array, annotations, f"{field}.text.annotations_json") if annotations else (),
            )
        case "reasoning":
            reasoning = message.reasoning
            extras = reasoning.extras_json
            return Reasoning(
                reasoning.text,
                reasoning.id,
                parsed(parse_object, extras, f"{field}.reasoning.extras_json") if extras else {},
            )
        case "vendor_json":
            return VendorBlock(parsed(parse_object, message.vendor_json, f"{field}.vendor_json"))
    media: pb.Media = getattr(message, str(kind))
    return Media(MediaKind(kind), media.data, media.url, media.file_id, media.mime_type, media.name)


def _parse_array(text: str) -> Sequence[Any]:
    value = json_text.loads(text)
    if not isinstance(value, list):
        raise ValueError("is not a JSON array")
    return value


def block_message(block: Block) -> pb.ContentBlock:
    match block:
        case Text():
            annotations = json_text.dumps(block.annotations) if block.annotations else ""
            return pb.ContentBlock(text=pb.TextBlock(text=block.text, annotations_json=annotations))
        case Reasoning():
            extras = _extras(block)
            return pb.ContentBlock(reasoning=pb.Reasoning(id=block.id, text=block.text, extras_json=extras))
        case VendorBlock():
            return pb.ContentBlock(vendor_json=json_text.dumps(block.value))
        case Media():
            source: dict[str, Any] = {"data": block.data, "url": block.url, "file_id": block.file_id}
            given = {name: value for name, value in source.items() if value}
            media = pb.Media(mime_type=block.mime_type, name=block.name, **given)
            kinds: dict[str, Any] = {block.kind.value: media}
            return pb.ContentBlock(**kinds)


def reasoning_delta(delta: ReasoningDelta) -> pb.ReasoningDelta:
    part = delta.reasoning
    return pb.ReasoningDelta(index=delta.index, id=part.id, text=part.text, extras_json=_extras(part))


def _extras(reasoning: Reasoning) -> str:
    return json_text.dumps(reasoning.extras) if reasoning.extras else ""
