"""Conversion between LangChain's content blocks and those of the model service."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from graphmesh.model import v1 as pb
from langchain_core.messages import AIMessage, BaseMessage

MEDIA = frozenset({"image", "audio", "video", "file"})
TOOL_CALLS = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use"})
"""Blocks that repeat the tool calls of their message."""
ONLY_MODELS = frozenset({"reasoning", "non_standard", "server_tool_call", "server_tool_result"})
"""Blocks that only messages of models have."""
KNOWN_KEYS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"text", "annotations"}),
    "reasoning": frozenset({"reasoning", "extras"}),
    "text-plain": frozenset({"text", "base64", "url", "file_id", "mime_type", "title", "extras", "filename"}),
    **dict.fromkeys(MEDIA, frozenset({"base64", "url", "file_id", "mime_type", "extras", "filename"})),
}
"""The fields of blocks besides `type`, `id` and `index`."""
NAMES = ("filename", "name", "title")
"""The keys of a file's name, in a block or its extras."""
PLAIN_TEXT = "text/plain"


def is_plain(message: BaseMessage) -> bool:
    """Report whether the content of a message is one text, and tool calls where it is a model's."""
    if isinstance(message.content, str):
        return True
    types = {_type(block) for block in message.content}
    keys = {
        key for block in message.content if isinstance(block, dict) and block.get("type") == "text" for key in block
    }
    return types <= {"text"} | TOOL_CALLS and keys <= {"type", "text", "id", "index"}


def _type(block: str | dict[Any, Any]) -> str:
    return "text" if isinstance(block, str) else str(block.get("type"))


def blocks(message: BaseMessage) -> list[pb.ContentBlock]:
    """Convert the content of a message, whose blocks may be LangChain's or those of OpenAI, Anthropic and others.

    Raises:
        ValueError: a block, or a part of it, that the model service does not take; it names both.
    """
    is_models = isinstance(message, AIMessage)
    return [_block(block, is_models=is_models) for block in message.content_blocks if block["type"] not in TOOL_CALLS]


def _block(block: Mapping[str, Any], *, is_models: bool) -> pb.ContentBlock:
    kind = block["type"]
    if kind in ONLY_MODELS and not is_models:
        raise ValueError(f"has a block that the model service does not take: {_name(block)}")
    if unknown := {*block} - {"type", "id", "index"} - KNOWN_KEYS.get(kind, frozenset(block)):
        raise ValueError(f"has a block {kind} with {', '.join(sorted(unknown))}, which the model service does not take")
    match kind:
        case "text":
            annotations = json.dumps(block["annotations"]) if block.get("annotations") else ""
            return pb.ContentBlock(text=pb.TextBlock(text=block.get("text", ""), annotations_json=annotations))
        case "reasoning":
            extras = json.dumps(block["extras"]) if block.get("extras") else ""
            text, id = block.get("reasoning") or "", block.get("id") or ""
            return pb.ContentBlock(reasoning=pb.Reasoning(id=id, text=text, extras_json=extras))
        case "text-plain":
            return pb.ContentBlock(file=_media({"mime_type": PLAIN_TEXT, **block}))
        case kind if kind in MEDIA:
            media: dict[str, Any] = {kind: _media(block)}
            return pb.ContentBlock(**media)
    return pb.ContentBlock(vendor_json=json.dumps({key: value for key, value in block.items() if key != "index"}))


def _name(block: Mapping[str, Any]) -> str:
    value = block.get("value")
    return str(value.get("type", "non_standard")) if isinstance(value, dict) else str(block["type"])


def _media(block: Mapping[str, Any]) -> pb.Media:
    extras = block.get("extras") or {}
    if unknown := set(extras) - {*NAMES}:
        kind = block["type"]
        raise ValueError(f"has a block {kind} with {', '.join(sorted(unknown))}, which the model service does not take")
    name = next((value for key in NAMES if (value := block.get(key) or extras.get(key))), "")
    media = pb.Media(mime_type=block.get("mime_type") or "", name=name)
    if text := block.get("text"):
        media.data = text.encode()
    elif data := block.get("base64"):
        media.data = _decoded(data)
    elif url := block.get("url"):
        media.url = url
    else:
        media.file_id = block.get("file_id") or ""
    return media


def _decoded(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, TypeError) as error:
        raise ValueError("has a block whose base64 is invalid") from error


def content(message: pb.AssistantMessage) -> str | list[str | dict[Any, Any]]:
    """Return the content of an answer as LangChain's standard blocks, or as text where it is one."""
    return [langchain_block(block) for block in message.blocks] if message.blocks else message.text


def langchain_block(block: pb.ContentBlock) -> dict[str, Any]:
    kind = str(block.WhichOneof("block"))
    match kind:
        case "text":
            text = block.text
            annotations = {"annotations": json.loads(text.annotations_json)} if text.annotations_json else {}
            return {"type": "text", "text": text.text, **annotations}
        case "reasoning":
            return reasoning_block(block.reasoning)
        case "vendor_json":
            found: dict[str, Any] = json.loads(block.vendor_json)
            return found
    media: pb.Media = getattr(block, kind)
    data = base64.b64encode(media.data).decode()
    source = {"base64": data, "url": media.url, "file_id": media.file_id, "mime_type": media.mime_type}
    return {"type": kind, **{name: value for name, value in source.items() if value}}


def reasoning_block(part: pb.Reasoning | pb.ReasoningDelta) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "reasoning", "reasoning": part.text}
    if part.id:
        block["id"] = part.id
    if part.extras_json:
        block["extras"] = json.loads(part.extras_json)
    return block


class StreamedContent:
    """The content of one streamed answer: text as long as it is only text, else blocks with an index each."""

    def __init__(self) -> None:
        self._current: Any = None
        self._index = -1

    def of(self, event: pb.StreamGenerateResponse) -> str | list[str | dict[Any, Any]]:
        """Return the content of the chunk for an event."""
        kind = event.WhichOneof("event")
        match kind:
            case "text_delta" if self._index < 0:
                return event.text_delta
            case "text_delta":
                return [self._numbered("text", {"type": "text", "text": event.text_delta})]
            case "reasoning_delta":
                delta = event.reasoning_delta
                return [self._numbered(("reasoning", delta.index), reasoning_block(delta))]
            case "block":
                return [self._numbered(object(), langchain_block(event.block))]
        return ""

    def _numbered(self, key: Any, block: dict[Any, Any]) -> dict[Any, Any]:
        if key != self._current:
            self._current, self._index = key, self._index + 1
        return {**block, "index": self._index}
