"""Prompts and answers of models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Schema = Mapping[str, Any]
"""A JSON Schema, draft 2020-12."""


@dataclass(frozen=True)
class ToolCall:
    """A tool call that a model requests."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Text:
    """A text among other blocks."""

    text: str
    annotations: Sequence[Any] = ()
    """Citations, in LangChain's form."""


class MediaKind(Enum):
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    FILE = "file"


@dataclass(frozen=True)
class Media:
    """An image, a sound, a video or a file: its bytes, or a reference to them."""

    kind: MediaKind
    data: bytes = field(default=b"", repr=False)
    url: str = ""
    file_id: str = ""
    mime_type: str = ""
    name: str = ""


@dataclass(frozen=True)
class Reasoning:
    """The reasoning of a model before its answer."""

    text: str = ""
    id: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """The vendor's additions, such as a signature, without which it does not accept the block again."""


@dataclass(frozen=True)
class VendorBlock:
    """A part of a content that only its vendor reads."""

    value: Mapping[str, Any]


Block = Text | Media | Reasoning | VendorBlock
"""A part of a content that is more than one text."""


def text_of(blocks: Sequence[Block]) -> str:
    return "".join(block.text for block in blocks if isinstance(block, Text))


@dataclass(frozen=True)
class System:
    """A system message: instructions of the graph's author."""

    text: str


@dataclass(frozen=True)
class User:
    """A user message; it may contain documents to answer from."""

    text: str
    blocks: tuple[Block, ...] = ()
    """The content in its order, where it is more than one text; `text` is then the text in it."""


@dataclass(frozen=True)
class Assistant:
    """A message that a model wrote."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    blocks: tuple[Block, ...] = ()
    """As those of User."""
    provider: str = ""
    """The provider that wrote it; empty if unknown."""


@dataclass(frozen=True)
class ToolResult:
    """A tool's response to a tool call."""

    tool_call_id: str
    text: str
    is_error: bool = False
    blocks: tuple[Block, ...] = ()
    """As those of User."""


Message = System | User | Assistant | ToolResult


@dataclass(frozen=True)
class Tool:
    """A tool that a model may call."""

    name: str
    description: str
    parameters: Schema


class ToolUse(Enum):
    """Whether a model may, must not or must call tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True)
class ToolChoice:
    """Whether a model calls tools."""

    use: ToolUse = ToolUse.AUTO
    tool_name: str | None = None
    """The tool that a REQUIRED call must name; None allows any."""


@dataclass(frozen=True)
class Prompt:
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    response_schema: Schema | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top_p: float | None = None
    parallel_tool_calls: bool | None = None
    strict: bool = False
    """Whether the vendor itself has to enforce the response schema and the tools' parameters."""
    unchecked_tool_calls: bool = False
    """Whether the caller checks tool calls itself."""

    def parameters_of(self, tool_name: str) -> Schema | None:
        return next((tool.parameters for tool in self.tools if tool.name == tool_name), None)


class FinishReason(Enum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True)
class Usage:
    """The tokens of one answer."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    """Input tokens that the vendor read from its cache; included in `input_tokens`."""
    cache_written_input_tokens: int = 0
    reasoning_output_tokens: int = 0
    """Output tokens of reasoning; included in `output_tokens`."""
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    images: int = 0
    """Images of the prompt."""
    estimated: bool = False
    """Whether a count is an estimate of this service, since the vendor has stated none."""


@dataclass(frozen=True)
class Attempt:
    """One call of a vendor's model that gave no usable answer, and what it has used."""

    alias: str
    provider: str
    model: str
    reason: str
    """The reason of its error."""
    fault: str
    """The class of the vendor's fault; empty where the vendor is not the cause."""
    usage: "Usage"
    cost_micro_usd: int | None


@dataclass(frozen=True)
class Answer:
    """A model's answer, with the model that gave it."""

    message: Assistant
    finish_reason: FinishReason
    usage: Usage
    model: str
    """The vendor's name of the model that answered; a fallback or a dated version can differ from the requested one."""
    provider: str
    offline: bool = False
    """Whether it comes from the offline demo composer."""
    cost_micro_usd: int | None = None
    """None if the model's price is unknown."""
    vendor_answer_id: str = ""
    failed_attempts: tuple[Attempt, ...] = ()
    """The attempts before this one; their cost is not in `cost_micro_usd`."""
    cached: bool = False
    """Whether it comes from the cache of this service, and so has cost nothing."""
    cache_similarity: float = 0.0
    """The cosine of the embeddings of its prompt and of the one that it was stored for; 0 where those are equal."""


@dataclass(frozen=True)
class TextDelta:
    """The next part of an answer's text."""

    text: str


@dataclass(frozen=True)
class ToolCallDelta:
    """The next part of the tool call at `index`; only its first part has the id and the name."""

    index: int
    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True)
class ReasoningDelta:
    """The next part of the reasoning at `index`."""

    index: int
    reasoning: Reasoning


@dataclass(frozen=True)
class BlockDelta:
    """A whole block that is neither text nor reasoning."""

    block: Block


@dataclass(frozen=True)
class UsageSoFar:
    """The usage of a stream up to here, as the vendor states it."""

    usage: Usage


StreamEvent = TextDelta | ToolCallDelta | ReasoningDelta | BlockDelta | UsageSoFar | Answer
"""An event of a stream. The last one is the whole answer."""
