"""What is asked of a model, what it answers, and what that costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Schema = Mapping[str, Any]
"""A JSON Schema, draft 2020-12."""

MILLION = 1_000_000


@dataclass(frozen=True)
class ToolCall:
    """A call that a model wants made."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class System:
    """What the author of a graph tells the model."""

    text: str


@dataclass(frozen=True)
class User:
    """What the person says, with the material for the answer."""

    text: str


@dataclass(frozen=True)
class Assistant:
    """What a model said."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered."""

    tool_call_id: str
    text: str
    is_error: bool = False


Message = System | User | Assistant | ToolResult


@dataclass(frozen=True)
class Tool:
    """A tool that a model may ask for."""

    name: str
    description: str
    parameters: Schema


class ToolUse(Enum):
    """Whether a model calls tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True)
class ToolChoice:
    """Whether a model calls tools, and which one it has to."""

    use: ToolUse = ToolUse.AUTO
    tool_name: str | None = None


@dataclass(frozen=True)
class Prompt:
    """What is asked of a model."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    response_schema: Schema | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()

    def parameters_of(self, tool_name: str) -> Schema | None:
        return next((tool.parameters for tool in self.tools if tool.name == tool_name), None)


class FinishReason(Enum):
    """Why a model stopped."""

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
    """Those of the input that the vendor had cached."""


@dataclass(frozen=True)
class Price:
    """Millionths of a US dollar for a million tokens."""

    input_micro_usd: int
    output_micro_usd: int
    cached_input_micro_usd: int

    def cost(self, usage: Usage) -> int:
        """Millionths of a US dollar, rounded up: what is given away in rounding must not add up to a free lunch."""
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        total = (
            (usage.input_tokens - cached) * self.input_micro_usd
            + cached * self.cached_input_micro_usd
            + usage.output_tokens * self.output_micro_usd
        )
        return -(-total // MILLION)


FREE = Price(0, 0, 0)


@dataclass(frozen=True)
class Answer:
    """What a model answered, and which model that was."""

    message: Assistant
    finish_reason: FinishReason
    usage: Usage
    model: str
    """The vendor's name of the model that really answered."""
    provider: str
    offline: bool = False
    """Whether it comes from the offline demo composer."""
    cost_micro_usd: int | None = None
    """None where the model has no price."""


@dataclass(frozen=True)
class TextDelta:
    """More of an answer's text."""

    text: str


@dataclass(frozen=True)
class ToolCallDelta:
    """More of an answer's tool call number `index`."""

    index: int
    id: str
    name: str
    arguments_json: str


Piece = TextDelta | ToolCallDelta | Answer
"""What a stream consists of; the answer is the last."""
