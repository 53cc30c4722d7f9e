"""A provider that says what it was told to."""

import asyncio
from collections.abc import AsyncGenerator

from graphmesh_model.domain import Answer, Assistant, FinishReason, Piece, Prompt, TextDelta, ToolCall, Usage


def said(text: str = "", *calls: ToolCall, finish: FinishReason = FinishReason.STOP) -> Answer:
    return Answer(Assistant(text, calls), finish, Usage(1000, 100, 400), "scripted-1", "scripted")


class Scripted:
    """Answers with `answer`, or fails with it, after `seconds`."""

    vendor, model, description, offline = "scripted", "scripted-1", "", False

    def __init__(self, answer: Answer | Exception, seconds: float = 0, *, speaks_first: bool = False) -> None:
        self._answer, self._seconds, self._speaks_first = answer, seconds, speaks_first

    async def answer(self, prompt: Prompt) -> Answer:
        await asyncio.sleep(self._seconds)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        if self._speaks_first:
            yield TextDelta("Well, ")
        answer = await self.answer(prompt)
        yield TextDelta(answer.message.text)
        yield answer
