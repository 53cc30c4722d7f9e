"""The mesh's model service as a LangChain chat model, for nodes of graphs.

    model = GraphmeshChatModel()

    async def draft(state: State) -> State:
        answer = await model.ainvoke(state["messages"])
        ...

Ordinary LangChain code works with it: `bind_tools`, `with_structured_output`, LangGraph's stream mode `messages`.
It takes identity, deadline, budget and channel from the run of the node that uses it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol, TypeVar, runtime_checkable

from google.protobuf.message import Message
from graphmesh.model import v1 as pb
from graphmesh_chassis.large_values import convert_aside, size_of
from graphmesh_contracts import Rpc, StreamingRpc
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field

from graphmesh_nodes import chat_convert as convert
from graphmesh_nodes.calls import call, stream
from graphmesh_nodes.chat_options import Method, prompt_fields, structured_output
from graphmesh_nodes.context import wait_on_loop

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@runtime_checkable
class ModelClient(Protocol):
    """The connection of a chat model to the model service. Both methods raise GraphmeshError."""

    async def unary(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT: ...

    def stream(self, rpc: StreamingRpc[RequestT, ResponseT], request: RequestT) -> AsyncIterator[ResponseT]: ...


class RunModelClient:
    """Calls the model service as part of the present node's run: with its identity, deadline, budget and channel."""

    async def unary(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        return await call(rpc, request)

    def stream(self, rpc: StreamingRpc[RequestT, ResponseT], request: RequestT) -> AsyncIterator[ResponseT]:
        return stream(rpc, request)


class GraphmeshChatModel(BaseChatModel):
    """A model of the mesh, for nodes of graphs. In synchronous nodes `invoke` waits for the run's event loop."""

    model_config = ConfigDict(extra="forbid")

    model: str = ""
    """The alias of the model; empty for the default model."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    client: ModelClient = Field(default_factory=RunModelClient, exclude=True, repr=False)
    """The connection to the service; by default that of the node's run."""

    @property
    def _llm_type(self) -> str:
        return "graphmesh"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in ("model", "temperature", "top_p", "max_tokens", "stop")}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call `tools`: all that LangChain takes for a tool, also `ToolSchema.openai`.

        Further arguments are those of a call: `strict`, `parallel_tool_calls`, `response_format`, `temperature`, …

        The service checks the arguments of calls, unless all tools are LangChain's own, which check them themselves: a
        model then receives what is wrong as the result of its call.
        """
        unchecked = bool(tools) and all(isinstance(tool, BaseTool) for tool in tools)
        bound = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(**{"tools": bound, "tool_choice": tool_choice, "unchecked_tool_calls": unchecked, **kwargs})

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer with a value of `schema`: a Pydantic class, a TypedDict or a JSON Schema. The service enforces it.

        Args:
            method: `json_schema`; `function_calling`, as the call of a tool; or `json_mode`, as a JSON object whose
                fields the prompt describes.
            strict: whether the vendor itself enforces the schema.
        """
        options = {**kwargs, "strict": strict}
        bound, parser = structured_output(self, schema, method, options)
        if not include_raw:
            return bound | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=bound) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return wait_on_loop(lambda: self._agenerate(messages, stop, None, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chunks = self._astream(messages, stop, None, **kwargs)

        async def following() -> ChatGenerationChunk | None:
            return await anext(chunks, None)

        try:
            while (chunk := wait_on_loop(following)) is not None:
                yield chunk
        finally:
            wait_on_loop(chunks.aclose)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = pb.GenerateRequest(prompt=await self._prompt(messages, stop, **kwargs))
        response = await self.client.unary(pb.ModelService.Generate, request)
        return ChatResult(generations=[ChatGeneration(message=convert.answer(response))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        request = pb.StreamGenerateRequest(prompt=await self._prompt(messages, stop, **kwargs))
        streamed = convert.StreamedAnswer()
        async for event in self.client.stream(pb.ModelService.StreamGenerate, request):
            chunk = ChatGenerationChunk(message=streamed.chunk(event))
            if run_manager:
                await run_manager.on_llm_new_token(event.text_delta, chunk=chunk)
            yield chunk

    def get_num_tokens(self, text: str) -> int:
        """Return an approximation, by the number of characters: only the vendor knows the tokens of its model."""
        return count_tokens_approximately([text])

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return an approximation, by the number of characters, for messages and tools."""
        return count_tokens_approximately(messages, tools=[convert_to_openai_tool(tool) for tool in tools or ()])

    async def _prompt(self, messages: list[BaseMessage], stop: list[str] | None, **options: Any) -> pb.Prompt:
        """Convert the prompt: one with large images in a thread."""
        is_large = size_of(*(message.content for message in messages)).is_large
        return await convert_aside(is_large, self._converted, messages, stop, **options)

    def _converted(self, messages: list[BaseMessage], stop: list[str] | None, **options: Any) -> pb.Prompt:
        own = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens, "stop": self.stop}
        given = {name: value for name, value in {**options, "stop": stop}.items() if value is not None}
        return pb.Prompt(model=self.model, messages=convert.messages(messages), **prompt_fields({**own, **given}))
