"""Prompts, answers and prices of models."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Schema = Mapping[str, Any]
"""A JSON Schema, draft 2020-12."""

MILLION = 1_000_000


@dataclass(frozen=True)
class ToolCall:
    """A tool call that a model requests."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class System:
    """A system message: instructions of the graph's author."""

    text: str


@dataclass(frozen=True)
class User:
    """A user message; it may contain documents to answer from."""

    text: str


@dataclass(frozen=True)
class Assistant:
    """A message that a model wrote."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class ToolResult:
    """A tool's response to a tool call."""

    tool_call_id: str
    text: str
    is_error: bool = False


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


@dataclass(frozen=True)
class Price:
    """Prices in millionths of a US dollar for a million tokens."""

    input_micro_usd: int
    output_micro_usd: int
    cached_input_micro_usd: int

    def cost(self, usage: Usage) -> int:
        """Return the cost in millionths of a US dollar, rounded up so that small answers are never free."""
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


StreamEvent = TextDelta | ToolCallDelta | Answer
"""An event of a stream. The last one is the whole answer."""
