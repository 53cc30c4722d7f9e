"""Converts between messages of the domain and LangChain's messages with its standard content blocks."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from graphmesh_model.domain import (
    Assistant,
    Block,
    BlockDelta,
    Media,
    MediaKind,
    Message,
    Reasoning,
    ReasoningDelta,
    StreamEvent,
    System,
    Text,
    TextDelta,
    ToolCallDelta,
    ToolResult,
    User,
    VendorBlock,
)

REASONING = "reasoning_content"
"""The key of reasoning that is beside the content, in messages of servers that add it to OpenAI's protocol."""
MEDIA = frozenset(kind.value for kind in MediaKind)
TOOL_CALLS = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call"})
"""Blocks that repeat the tool calls of their message."""


def langchain_message(message: Message, vendor: str) -> BaseMessage:
    """Convert a message for a vendor; reasoning and blocks of other vendors are left out."""
    match message:
        case System(text=text):
            return SystemMessage(text)
        case User():
            return HumanMessage(_content(message.text, message.blocks))
        case ToolResult():
            status = "error" if message.is_error else "success"
            content = _content(message.text, message.blocks)
            return ToolMessage(content, tool_call_id=message.tool_call_id, status=status)
        case Assistant():
            return _ai_message(message, vendor)


def _ai_message(message: Assistant, vendor: str) -> AIMessage:
    calls = [
        {"type": "tool_call", "id": call.id, "name": call.name, "args": dict(call.arguments)}
        for call in message.tool_calls
    ]
    own = [block for block in message.blocks if message.provider == vendor or isinstance(block, Text | Media)]
    if not own:
        return AIMessage(message.text, tool_calls=calls)
    content: list[str | dict[Any, Any]] = [*(_langchain_block(block) for block in own), *calls]
    metadata = {"output_version": "v1", "model_provider": vendor}
    return AIMessage(content, tool_calls=calls, response_metadata=metadata)


def _content(text: str, blocks: Sequence[Block]) -> Any:
    return [_langchain_block(block) for block in blocks] if blocks else text


def _langchain_block(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            annotations = {"annotations": list(block.annotations)} if block.annotations else {}
            return {"type": "text", "text": block.text, **annotations}
        case Reasoning():
            given = {"id": block.id, "extras": dict(block.extras)}
            return {"type": "reasoning", "reasoning": block.text, **_non_empty(given)}
        case VendorBlock():
            return dict(block.value)
        case Media():
            data = base64.b64encode(block.data).decode()
            source = {"base64": data, "url": block.url, "file_id": block.file_id}
            given = {**source, "mime_type": block.mime_type, "filename": block.name}
            return {"type": block.kind.value, **_non_empty(given)}


def _non_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def blocks_of(message: AIMessage) -> tuple[Block, ...]:
    """Return the blocks of an answer; none where it is text and tool calls only.

    Raises:
        ValueError: a medium has no valid base64.
    """
    thought = str(message.additional_kwargs.get(REASONING, ""))
    if isinstance(message.content, str) and not thought:
        return ()
    if isinstance(message.content, str):
        return (Reasoning(thought), *((Text(message.content),) if message.content else ()))
    found = tuple(_block(block) for block in message.content_blocks if block["type"] not in TOOL_CALLS)
    is_text = all(isinstance(block, Text) and not block.annotations for block in found)
    return () if is_text else found


def _block(block: Mapping[str, Any]) -> Block:
    match block["type"]:
        case "text":
            return Text(block.get("text", ""), block.get("annotations") or ())
        case "reasoning":
            return Reasoning(block.get("reasoning") or "", block.get("id") or "", block.get("extras") or {})
        case kind if kind in MEDIA and not block.get("value"):
            return _media(MediaKind(kind), block)
    return VendorBlock({name: value for name, value in block.items() if name != "index"})


def _media(kind: MediaKind, block: Mapping[str, Any]) -> Media:
    try:
        data = binascii.a2b_base64(block.get("base64") or "", strict_mode=True)
    except binascii.Error as error:
        raise ValueError("a medium is not base64") from error
    names = ("url", "file_id", "mime_type")
    url, file_id, mime_type = (block.get(name) or "" for name in names)
    return Media(kind, data, url, file_id, mime_type or ("application/octet-stream" if data else ""))


class CallIds:
    """Ids of the tool calls of one message: some servers give none, or the same to several."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def unique(self, id: str | None) -> str:
        """Return the id of the next call."""
        number = len(self._given) + 1
        made = id or f"call_{number}"
        made = f"{made}_{number}" if made in self._given else made
        self._given.add(made)
        return made


class StreamEvents:
    """Converts the chunks of one stream. Vendors number all blocks together, name them, or do neither; events number
    reasoning from 0, and tool calls from 0."""

    def __init__(self) -> None:
        self._reasoning: dict[Any, int] = {}
        self._calls: dict[Any, int] = {}
        self._ids = CallIds()

    def of(self, chunk: AIMessageChunk) -> Iterator[StreamEvent]:
        """Yield the events of a chunk, and number its tool calls, without which LangChain cannot join their parts."""
        if thought := chunk.additional_kwargs.get(REASONING):
            yield ReasoningDelta(self._reasoning.setdefault(None, len(self._reasoning)), Reasoning(thought))
        if isinstance(chunk.content, str):
            if chunk.content:
                yield TextDelta(chunk.content)
        else:
            yield from self._of_blocks(chunk)
        for call in chunk.tool_call_chunks:
            key = call["index"] if call["index"] is not None else call["id"] or next(reversed(self._calls), 0)
            id = self._ids.unique(call["id"]) if key not in self._calls else ""
            index = self._calls.setdefault(key, len(self._calls))
            call["index"] = index
            yield ToolCallDelta(index, id, call["name"] or "", call["args"] or "")

    def _of_blocks(self, chunk: AIMessageChunk) -> Iterator[StreamEvent]:
        for raw in chunk.content_blocks:
            if raw["type"] in TOOL_CALLS or raw["type"] == "server_tool_call_chunk":
                continue
            match _block(raw):
                case Text(text=text):
                    if text:
                        yield TextDelta(text)
                case Reasoning() as reasoning:
                    index = self._reasoning.setdefault(raw.get("index"), len(self._reasoning))
                    yield ReasoningDelta(index, reasoning)
                case whole:
                    yield BlockDelta(whole)
