"""A LangChain chat model that needs no vendor."""

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable


class FakeChatModel(BaseChatModel):
    """Answers with `message`, or fails with `failure`; records messages and options of each call in `calls`."""

    message: AIMessage = AIMessage("")
    failure: Any = None
    calls: list[tuple[list[BaseMessage], dict[str, Any]]] = []

    @property
    def _llm_type(self) -> str:
        return "vendor"

    def bind_tools(
        self, tools: Any, *, tool_choice: str | bool | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=tools, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.calls.append((messages, {"stop": stop, **kwargs}))
        if self.failure:
            raise self.failure
        return ChatResult(generations=[ChatGeneration(message=self.message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        """Stream the text letter by letter, each tool call in two chunks, then usage and metadata."""
        if self.failure:
            raise self.failure
        for letter in self.message.text:
            yield ChatGenerationChunk(message=AIMessageChunk(content=letter))
        for index, call in enumerate(self.message.tool_calls):
            for part in (
                ToolCallChunk(name=call["name"], args="", id=call["id"], index=index),
                ToolCallChunk(name=None, args=str(call["args"]).replace("'", '"'), id=None, index=index),
            ):
                yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[part]))
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                usage_metadata=self.message.usage_metadata,
                response_metadata=self.message.response_metadata,
                chunk_position="last",
            )
        )
