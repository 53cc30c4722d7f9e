"""A chat model whose answers a function makes from the conversation, with tools and structured output."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class ScriptedModel(BaseChatModel):
    """Answers with a text, or with a message that calls a tool."""

    answer: Callable[[Sequence[BaseMessage]], str | AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        answer = self.answer(messages)
        message = answer.model_copy(update={"id": None}) if isinstance(answer, AIMessage) else AIMessage(answer)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self


def calls(name: str, **args: Any) -> AIMessage:
    """A message that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call_{name}"}])


def once(call: AIMessage, answer: str) -> ScriptedModel:
    """A model that calls a tool, and answers when it has the result of a tool."""
    return ScriptedModel(answer=lambda messages: answer if messages[-1].type == "tool" else call)
