"""A twin of the model service, with the replies of a test."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graphmesh.model import v1 as pb
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from graphmesh_nodes.chat_convert import messages
from graphmesh_nodes.testing.errors import HarnessError

Reply = str | Mapping[str, Any] | BaseModel | AIMessage
"""Text, or a value of the requested schema, or a message with tool calls, reasoning or media."""


class ModelTwin:
    """Replies in order; a function replies to each prompt."""

    def __init__(self) -> None:
        self._replies: deque[Reply | Callable[[pb.Prompt], Reply]] = deque()
        self.usage = pb.Usage()
        self.offline = False
        self.prompts: list[pb.Prompt] = []
        self.errors: list[HarnessError] = []

    def add(self, replies: Sequence[Reply | Callable[[pb.Prompt], Reply]]) -> None:
        self._replies.extend(replies)

    def generate(self, request: pb.GenerateRequest) -> pb.GenerateResponse:
        return self._response(request.prompt)

    def stream_generate(self, request: pb.StreamGenerateRequest) -> Iterator[pb.StreamGenerateResponse]:
        """Stream the reply word by word."""
        response = self._response(request.prompt)
        yield from _words(response.message.text)
        for block in response.message.blocks:
            yield from _events(block)
        for index, call in enumerate(response.message.tool_calls):
            delta = pb.ToolCallDelta(index=index, id=call.id, name=call.name, arguments_json=call.arguments_json)
            yield pb.StreamGenerateResponse(tool_call_delta=delta)
        yield pb.StreamGenerateResponse(completed=response)

    def _response(self, prompt: pb.Prompt) -> pb.GenerateResponse:
        self.prompts.append(prompt)
        message = _message(self._next(prompt))
        reason = pb.FinishReason.FINISH_REASON_TOOL_CALLS if message.tool_calls else pb.FinishReason.FINISH_REASON_STOP
        return pb.GenerateResponse(
            message=message,
            finish_reason=reason,
            usage=self.usage,
            model="twin",
            provider="twin",
            offline=self.offline,
        )

    def _next(self, prompt: pb.Prompt) -> Reply:
        if not self._replies:
            error = HarnessError(
                f"the graph called the model {len(self.prompts)} times, with fewer replies; add one with "
                f'harness.model_replies("..."). The prompt was:\n{prompt}'
            )
            self.errors.append(error)
            raise error
        reply = self._replies[0]
        if callable(reply):
            return reply(prompt)
        self._replies.popleft()
        return reply


def _events(block: pb.ContentBlock) -> Iterator[pb.StreamGenerateResponse]:
    match block.WhichOneof("block"):
        case "text":
            yield from _words(block.text.text)
        case "reasoning":
            part = block.reasoning
            delta = pb.ReasoningDelta(id=part.id, text=part.text, extras_json=part.extras_json)
            yield pb.StreamGenerateResponse(reasoning_delta=delta)
        case _:
            yield pb.StreamGenerateResponse(block=block)


def _words(text: str) -> Iterator[pb.StreamGenerateResponse]:
    for word in re.findall(r"\s*\S+|\s+$", text):
        yield pb.StreamGenerateResponse(text_delta=word)


def _message(reply: Reply) -> pb.AssistantMessage:
    match reply:
        case AIMessage():
            [message] = messages([reply])
            return message.assistant
        case BaseModel():
            return pb.AssistantMessage(text=reply.model_dump_json())
        case Mapping():
            return pb.AssistantMessage(text=json.dumps(reply))
    return pb.AssistantMessage(text=reply)
