"""A provider with a scripted answer or error."""

import asyncio
from collections.abc import AsyncGenerator

from graphmesh_model.domain import Answer, Assistant, FinishReason, Prompt, StreamEvent, TextDelta, ToolCall, Usage


def reply(text: str = "", *calls: ToolCall, finish: FinishReason = FinishReason.STOP) -> Answer:
    return Answer(Assistant(text, calls), finish, Usage(1000, 100, 400), "scripted-1", "scripted")


class ScriptedProvider:
    """Answers with `answer`, or raises it, after `seconds`; optionally streams text before that."""

    vendor, model, description, offline = "scripted", "scripted-1", "", False

    def __init__(self, answer: Answer | Exception, seconds: float = 0, *, streams_text_first: bool = False) -> None:
        self._answer, self._seconds, self._streams_text_first = answer, seconds, streams_text_first

    async def answer(self, prompt: Prompt) -> Answer:
        await asyncio.sleep(self._seconds)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[StreamEvent, None]:
        if self._streams_text_first:
            yield TextDelta("Well, ")
        answer = await self.answer(prompt)
        yield TextDelta(answer.message.text)
        yield answer
